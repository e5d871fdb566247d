"""`unhitch demo --once` shows every strategy at work and leaves nothing behind."""

import os
import subprocess
from pathlib import Path

from tests.e2e.conftest import UNHITCH
from tests.test_docs import edits
from unhitch.engine.cpu_wheel import ONE_THREAD


def test_the_demo_shows_every_strategy_and_ends_by_itself(tmp_path: Path) -> None:
    environment = {**os.environ, **ONE_THREAD, "COLUMNS": "160", "UNHITCH_CACHE": str(tmp_path)}
    done = subprocess.run([UNHITCH, "demo", "--once"], env=environment, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    answers, table = done.stdout.split("Alignment by strategy")
    for name in [*edits(), "unmitigated"]:
        assert name in answers
        assert name in table
    assert "mini-base" in table
    assert "Traceback" not in done.stderr
