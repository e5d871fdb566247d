"""One vLLM process: started, waited for, watched, and stopped with all its children."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import re
import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import httpx

from unhitch.engine.command import Command
from unhitch.errors import EngineStartError

_TAIL_LINES = 25
_PR_SET_PDEATHSIG = 1
_ERROR_LINE = re.compile(r"(?:^|\s)(\w*(?:Error|Exception)): (.+)")


class EngineProcess:
    """A running vLLM. Use as an async context manager: leaving it stops the engine.

    Args:
        command: What to run.
        url: Where it will answer, such as `http://127.0.0.1:8001`.
        log: File for its output; a temporary one where none is given.
    """

    def __init__(self, command: Command, url: str, *, log: Path | None = None) -> None:
        self._command = command
        self.url = url
        self._own_log = log is None
        self.log = log or _temporary_log()
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> EngineProcess:
        with self.log.open("wb") as output:
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *self._command.arguments,
                    env=self._command.environment,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=asyncio.subprocess.STDOUT,
                    start_new_session=True,  # Ctrl-C reaches us alone; we stop the engine when the proxy has drained
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                )
            except OSError as error:
                raise EngineStartError(f"{self._command.arguments[0]} could not be started: {error}") from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def healthy(self, *, timeout_seconds: float, waiting: Callable[[float], None] = lambda _: None) -> None:
        """Waits until the engine answers.

        Args:
            timeout_seconds: Longest wait.
            waiting: Called with the seconds waited so far, about twice a second.

        Raises:
            EngineStartError: It ended, or did not answer in time; the message has its own words.
        """
        loop = asyncio.get_running_loop()
        start = loop.time()
        async with httpx.AsyncClient(timeout=5.0, trust_env=False) as client:
            while loop.time() - start < timeout_seconds:
                if self._running.returncode is not None:
                    raise EngineStartError(self.obituary())
                with contextlib.suppress(httpx.HTTPError):
                    if (await client.get(f"{self.url}/health")).status_code == 200:
                        return
                waiting(loop.time() - start)
                await asyncio.sleep(0.5)
        raise EngineStartError(f"vLLM did not answer within {timeout_seconds:.0f} s.\n{self.tail()}")

    @property
    def alive(self) -> bool:
        """Whether the engine's process runs."""
        return self._process is not None and self._process.returncode is None

    async def ended(self) -> None:
        """Returns when the engine's process has ended, for whatever reason."""
        await self._running.wait()

    async def stop(self, *, patience_seconds: float = 20.0) -> None:
        """Ends the engine and all its children: asked first, killed when it takes longer than `patience_seconds`."""
        if self._process is None:
            return
        if self._process.returncode is None:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._process.wait(), patience_seconds)
        self._signal(signal.SIGKILL)  # whatever is left of its group
        await self._process.wait()
        if self._own_log:
            self.log.unlink(missing_ok=True)

    def obituary(self) -> str:
        """What went wrong, for people: how it ended, its last error, and the end of its log."""
        code = self._running.returncode
        how = f"was killed by signal {-code}" if code is not None and code < 0 else f"ended with status {code}"
        causes = [f"{kind}: {text}" for kind, text in _ERROR_LINE.findall(self._text())]
        # The last lines tell only that the worker died; the first error is the one to read.
        cause = f"\nIts first error: {causes[0]}" if causes else ""
        return f"vLLM {how}.{cause}\n{self.tail()}"

    def tail(self) -> str:
        """The last lines of the engine's log."""
        lines = self._text().splitlines()[-_TAIL_LINES:]
        return "The end of its log:\n" + "\n".join(f"  | {line}" for line in lines)

    def _text(self) -> str:
        return self.log.read_text("utf-8", errors="replace") if self.log.exists() else ""

    @property
    def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            raise EngineStartError("the engine has not been started")
        return self._process

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._running.pid, number)


def _temporary_log() -> Path:
    descriptor, name = tempfile.mkstemp(prefix="unhitch-vllm-", suffix=".log")
    os.close(descriptor)
    return Path(name)


def _die_with_parent() -> None:
    """Has the kernel end the engine when we are killed and cannot do it ourselves (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
