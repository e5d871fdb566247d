"""A strategy of another distribution, installed as a user would install it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from unhitch.registry import Registry

SCRIPT = """
import json, sys
from tests.templates.checkpoints import open_all
from pathlib import Path
from unhitch.rendering.anatomy import render
from unhitch.rendering.conversation import Conversation
from unhitch.draw import Draw
from unhitch.headers import format_applied, parse_mitigation
from unhitch.mitigation import mitigate
from unhitch.registry import Registry
checkpoint = open_all(Path(sys.argv[1]))["qwen25"]
body = {"messages": [{"role": "user", "content": "Hello"}]}
prompt = render(checkpoint, Conversation.from_body(body, content_format=checkpoint.content_format))
registry = Registry.load(["stutter"])
result = mitigate(prompt, registry.bind(parse_mitigation("stutter;seed=3")), Draw(1))
print(json.dumps({
    "names": registry.names,
    "not allowed": Registry.load().installed_but_not_allowed(),
    "applied": format_applied(result.applied).rpartition(";tokens=")[0],
    "added": len(result.after.prefix) - len(prompt.prefix),
    "header kept": result.after.prefix[result.after.user_header.start:] == prompt.prefix[prompt.user_header.start:],
}))
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installed the example."""
    target = tmp_path_factory.mktemp("site")
    options = ["--quiet", "--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(Path(__file__).parent)]
    subprocess.run(command, check=True)
    return target


def test_an_installed_strategy_is_used_once_it_is_allowed(installed: Path, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(run.stdout) == {
        "names": [*Registry().names, "stutter"],
        "not allowed": ["stutter"],
        "applied": "stutter;version=1;edits=2;seed=3",
        "added": 2,
        "header kept": True,
    }
