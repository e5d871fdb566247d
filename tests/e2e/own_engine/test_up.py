"""`unhitch up` says what went wrong with vLLM; that Ctrl-C stops it cleanly, every test that ends one sees."""

import os
import signal
from pathlib import Path

import pytest

from tests.e2e.conftest import Stack, up, wait_until_ready
from tests.e2e.processes import children, left


def ended(stack: Stack) -> int:
    return stack.process.wait(60)


def test_an_engine_that_is_killed_ends_the_proxy_with_an_error(tmp_path: Path) -> None:
    with up(tmp_path / "log", "mini-base") as stack:
        wait_until_ready(stack)
        engine, *rest = children(stack.process.pid)
        os.kill(engine, signal.SIGKILL)
        assert ended(stack) == 1
        assert "vLLM was killed by signal 9" in stack.output
        assert "Traceback" not in stack.output.partition("unhitch: ")[0]
        assert left(rest) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mini-base", "--", "--max-model-len", "100000000"), "max_model_len"),
        (("mini-base", "--", "--no-such-flag"), "--no-such-flag"),
    ],
)
def test_an_engine_that_cannot_start_says_why(tmp_path: Path, arguments: tuple[str, ...], said: str) -> None:
    with up(tmp_path / "log", *arguments) as stack:
        assert stack.process.wait(120) == 1
        assert "unhitch: vLLM ended with status" in stack.output
        assert said in stack.output
