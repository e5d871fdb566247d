"""A vLLM of one's own, which can be killed, made to hang, and started again on its port."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Self

import httpx

from unhitch.engine import command, cpu_wheel, served
from unhitch.engine.connector.options import MEMORY_GIB, options
from unhitch.engine.process import EngineProcess
from unhitch_server.cli.together import EXACT
from unhitch_server.network import free_port

START_SECONDS = 240.0


class RealEngine(EngineProcess):
    """The finetuned miniature with its states on real vLLM. An async context manager, to be used on one event loop.

    Args:
        folder: For its states and the log of its latest start.
        memory_gib: What it may fill with states.
        extra: Further arguments of vLLM.
    """

    def __init__(self, folder: Path, *, memory_gib: float = MEMORY_GIB, extra: Sequence[str] = ()) -> None:
        self.port = free_port()
        self.states = folder / "states"
        self._connector = options(self.states, memory_gib=memory_gib)
        self._extra = extra
        super().__init__(self._built(self._connector), f"http://127.0.0.1:{self.port}", log=folder / "engine.log")

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def start(self, *, connector: bool = True) -> None:
        """Returns when it answers.

        Args:
            connector: Whether it can serve states.

        Raises:
            EngineStartError: It ended, or did not answer in time.
        """
        self._command = self._built(self._connector if connector else ())
        await super().__aenter__()
        try:
            await self.healthy(timeout_seconds=START_SECONDS)
        except BaseException:
            await self.stop()
            raise

    async def kill(self) -> None:
        """Ends all its processes at once."""
        self._signal(signal.SIGKILL)
        await self.ended()

    def hang(self) -> None:
        """It keeps its connections and does nothing."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends the hang."""
        self._signal(signal.SIGCONT)

    async def working(self) -> float:
        """How many requests it is working on, as it says itself."""
        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            lines = (await client.get(f"{self.url}/metrics")).text.splitlines()
        names = ("vllm:num_requests_running{", "vllm:num_requests_waiting{")
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(names))

    def _built(self, connector: Sequence[str]) -> command.Command:
        extra = [*connector, *EXACT, *self._extra]
        built = command.build(served.find("mini-finance"), host="127.0.0.1", port=self.port, extra=extra)
        return replace(built, environment={**cpu_wheel.ONE_THREAD, **built.environment})
