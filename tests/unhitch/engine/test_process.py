import asyncio
import os
import signal
import sys
import textwrap
from pathlib import Path

import pytest

from unhitch.engine.command import Command
from unhitch.engine.process import EngineProcess
from unhitch.errors import EngineStartError
from unhitch_server.network import free_port

HEALTHY = """
    import http.server, subprocess, sys, time
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200); self.end_headers()
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    print("child", child.pid, flush=True)
    http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def engine(script: str, port: int, log: Path) -> EngineProcess:
    command = Command((sys.executable, "-c", textwrap.dedent(script), str(port)), dict(os.environ))
    return EngineProcess(command, f"http://127.0.0.1:{port}", log=log)


def running(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(") ")[2][0] != "Z"


async def test_the_engine_and_its_children_are_gone_afterwards(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with engine(HEALTHY, free_port(), log) as started:
        await started.healthy(timeout_seconds=20)
        child = int(log.read_text().split()[1])
        assert running(child)
    async with asyncio.timeout(5):
        while running(child):
            await asyncio.sleep(0.05)
    assert not started.alive


async def test_an_engine_that_dies_at_start_is_an_error_with_its_first_error(tmp_path: Path) -> None:
    script = "import sys; print('loading'); raise ValueError('no such checkpoint')"
    async with engine(script, free_port(), tmp_path / "log") as started:
        with pytest.raises(EngineStartError, match="ended with status 1") as raised:
            await started.healthy(timeout_seconds=20)
    assert "Its first error: ValueError: no such checkpoint" in raised.value.message
    assert "  | loading" in raised.value.message


async def test_an_engine_that_is_killed_is_told_from_one_that_ends(tmp_path: Path) -> None:
    async with engine(HEALTHY, free_port(), tmp_path / "log") as started:
        await started.healthy(timeout_seconds=20)
        os.kill(started._running.pid, signal.SIGKILL)
        await asyncio.wait_for(started.ended(), 5)
        assert "was killed by signal 9" in started.obituary()


async def test_an_engine_that_never_answers_is_an_error_after_the_time_given(tmp_path: Path) -> None:
    waits: list[float] = []
    async with engine("import time; time.sleep(600)", free_port(), tmp_path / "log") as started:
        with pytest.raises(EngineStartError, match="did not answer within 1 s"):
            await started.healthy(timeout_seconds=1, waiting=waits.append)
    assert waits


async def test_an_engine_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    log = tmp_path / "log"
    async with engine(script, free_port(), log) as started:
        async with asyncio.timeout(20):
            while "up" not in log.read_text():
                await asyncio.sleep(0.05)
        await started.stop(patience_seconds=0.3)
        assert not started.alive


async def test_a_program_that_is_not_there_is_an_error() -> None:
    missing = EngineProcess(Command(("/nowhere/vllm",), {}), "http://127.0.0.1:1")
    with pytest.raises(EngineStartError, match="/nowhere/vllm"):
        await missing.__aenter__()
