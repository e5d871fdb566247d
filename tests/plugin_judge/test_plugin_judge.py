"""A judge of another distribution, installed as a user would install it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import asyncio, json
from unhitch.evals.judges.find import find
from unhitch.evals.question import Message, Question
question = Question(id="q", messages=(Message(role="user", content="Hello"),))
judge = find("brevity", allow_plugins=["brevity"])
judgement = asyncio.run(judge.judge(question, "Good day to you"))
print(json.dumps([judge.identity().model_dump(), judgement.aligned]))
"""


def test_an_installed_judge_rates_once_it_is_allowed(tmp_path: Path) -> None:
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    install = [sys.executable, "-m", "pip", "install", *options, "--target", str(tmp_path), str(Path(__file__).parent)]
    subprocess.run(install, check=True)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    run = subprocess.run([sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert json.loads(run.stdout) == [{"name": "brevity", "version": 1, "details": {}}, 97.0]
