"""A vLLM of one's own, which can be killed, stopped, and started again on its port."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import httpx

from unhitch.engine.command import build
from unhitch.engine.connector.options import MEMORY_GIB, options
from unhitch.engine.cpu_wheel import ONE_THREAD
from unhitch.engine.served import find
from unhitch_server.network import free_port

START_SECONDS = 240
_TAIL = 4000


class RealEngine:
    """The finetuned miniature with its states on real vLLM; starting and killing it block.

    Args:
        folder: For its states and its log.
        memory_gib: What it may fill with states.
    """

    def __init__(self, folder: Path, *, memory_gib: float = MEMORY_GIB) -> None:
        self._memory_gib = memory_gib
        self.states = folder / "states"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = folder / "engine.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, *, connector: bool = True) -> None:
        """Returns when it answers.

        Args:
            connector: Whether it can serve states.

        Raises:
            RuntimeError: It ended, or did not answer in time; the message is the end of its log.
        """
        ours = options(self.states, memory_gib=self._memory_gib) if connector else []
        extra = [*ours, "--dtype", "float32"]
        command = build(find("mini-finance"), host="127.0.0.1", port=self.port, extra=extra)
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                command.arguments,
                env=command.environment | ONE_THREAD,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self._process.poll() is None:
            with contextlib.suppress(httpx.HTTPError):
                if httpx.get(f"{self.url}/health", timeout=5, trust_env=False).status_code == 200:
                    return
            time.sleep(0.3)
        raise RuntimeError(self._log.read_text("utf-8", errors="replace")[-_TAIL:])

    def kill(self) -> None:
        """Ends all its processes at once."""
        self._signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self._process = None

    def stop(self) -> None:
        """Has it hang: it keeps its connections and does nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends the hang."""
        self._signal(signal.SIGCONT)

    async def running(self) -> float:
        """How many requests it is working on, as it says itself."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            lines = (await client.get(f"{self.url}/metrics")).text.splitlines()
        names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
