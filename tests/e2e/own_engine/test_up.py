"""`unhitch up` stops cleanly, and says what went wrong when vLLM does."""

import os
import signal
from pathlib import Path

import httpx
import pytest

from tests.e2e.conftest import Stack, up, wait_until_ready


def children(process: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, parent = int(stat.parent.name), int(stat.read_text().rpartition(") ")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == process:
            found += [name, *children(name)]
    return found


def gone(processes: list[int]) -> bool:
    stats = [Path(f"/proc/{process}/stat") for process in processes]
    return not [s for s in stats if s.exists() and s.read_text().rpartition(") ")[2][0] != "Z"]


def answers(url: str) -> bool:
    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.TransportError:
        return False
    return True


def ended(stack: Stack) -> int:
    return stack.process.wait(60)


def test_ctrl_c_stops_the_proxy_and_the_engine_with_all_its_processes(tmp_path: Path) -> None:
    with up(tmp_path / "log", "mini-base") as stack:
        wait_until_ready(stack)
        below = children(stack.process.pid)
        assert below
        stack.process.send_signal(signal.SIGINT)
        assert ended(stack) == 0, stack.output
        assert gone(below)
        assert not answers(f"{stack.engine.url}/health")


def test_an_engine_that_is_killed_ends_the_proxy_with_an_error(tmp_path: Path) -> None:
    with up(tmp_path / "log", "mini-base") as stack:
        wait_until_ready(stack)
        engine, *rest = children(stack.process.pid)
        os.kill(engine, signal.SIGKILL)
        assert ended(stack) == 1
        assert "vLLM was killed by signal 9" in stack.output
        assert "Traceback" not in stack.output.partition("unhitch: ")[0]
        assert gone(rest)


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
