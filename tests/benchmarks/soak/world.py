"""What the soak runs: one real engine, `unhitch serve` before it, and the policy file; and what is done to them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.benchmarks.soak.settings import (
    CONTROL_KEY,
    MODEL,
    ROTATING,
    TEMPLATE_KWARGS,
    broken_file,
    policy_file,
)
from tests.real_engine import RealEngine
from unhitch_server.network import free_port

TAKEN_SECONDS = 15.0
"""Longest wait for a policy file to be read again."""


@dataclass(frozen=True)
class Reload:
    """One change of the policy file; times are seconds of the clock.

    Args:
        began: When the file was written.
        ended: When the proxy had taken or refused it.
        broken: Whether it was one that must be refused.
        by: What had it read again.
        rotating: What the policy `rotating` does from then on.
    """

    began: float
    ended: float
    broken: bool
    by: str
    rotating: str


@dataclass(frozen=True)
class Restart:
    """One death of the engine.

    Args:
        began: When it was killed.
        up: When the new one answered its health check.
        ended: When an answer with a state came through the proxy again.
    """

    began: float
    up: float
    ended: float


class World:
    """The engine, the proxy, and what clients need to know of them. See `running`."""

    def __init__(self, folder: Path, engine: RealEngine, proxy: subprocess.Popen[bytes], port: int, key: str) -> None:
        self.folder = folder
        self.engine = engine
        self.proxy = proxy
        self.url = f"http://127.0.0.1:{port}"
        self.key = key
        self.control = httpx.AsyncClient(
            base_url=self.url,
            headers={"Authorization": f"Bearer {CONTROL_KEY}", "Connection": "close"},
            timeout=60,
            trust_env=False,
        )
        self.rotating = ROTATING[0]
        self.reloads = [Reload(0.0, 0.0, broken=False, by="start", rotating=self.rotating)]
        self.restarts: list[Restart] = []
        self.faults: list[str] = []
        """What became of policy files that should not."""

    async def status(self) -> dict[str, Any]:
        """The proxy's own account."""
        told: dict[str, Any] = (await self.control.get("/unhitch/v1/status")).raise_for_status().json()
        return told

    async def state_served(self) -> bool:
        """Whether a request with a prefix state is answered."""
        body = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1}
        headers = {"Authorization": f"Bearer {self.key}", "Unhitch-Mitigation": "prefix-state"}
        with contextlib.suppress(httpx.HTTPError):
            answer = await self.control.post("/v1/chat/completions", json=body, headers=headers)
            return answer.status_code == 200 and "states=(" in answer.headers.get("Unhitch-Receipt", "")
        return False

    async def reload(self, number: int) -> None:
        """Has the policy file changed: by a signal or its date in turn, every third time by a broken one."""
        broken, hangup = number % 3 == 2, number % 2 == 0
        following = self.rotating if broken else next(each for each in ROTATING if each != self.rotating)
        text = broken_file(self.engine.url, number // 3) if broken else policy_file(self.engine.url, following)
        began = time.time()
        write_policy(self.folder, text)
        if hangup:
            self.proxy.send_signal(signal.SIGHUP)
        while not await self._in_force(following, broken=broken):
            if time.time() - began > TAKEN_SECONDS:
                what = "refused" if broken else "in force"
                self.faults.append(f"a policy file was not {what} within {TAKEN_SECONDS:.0f} s:\n{text}")
                break
            await asyncio.sleep(0.1)
        self.rotating = following
        by = "SIGHUP" if hangup else "change"
        self.reloads.append(Reload(began, time.time(), broken, by, following))

    async def restart(self) -> None:
        """Has the engine killed in the middle of the load, and started again.

        Raises:
            EngineStartError: It does not start.
            SystemExit: No state is served afterwards.
        """
        began = time.time()
        await self.engine.kill()
        await self.engine.start()
        up = time.time()
        while not await self.state_served():
            if time.time() - up > 60:
                raise SystemExit("no state is served a minute after the engine came back")
            await asyncio.sleep(0.5)
        self.restarts.append(Restart(began, up, time.time()))

    def in_force(self, rotating: str, sent: float, ended: float) -> bool:
        """Whether `rotating` was what that policy did at some time from the one to the other."""
        taken = [each for each in self.reloads if not each.broken]
        ends = [each.ended for each in taken[1:]] + [float("inf")]
        spans = zip(taken, ends, strict=True)
        return any(each.rotating == rotating and each.began <= ended and sent <= end for each, end in spans)

    async def _in_force(self, rotating: str, *, broken: bool) -> bool:
        told: dict[str, Any] = (await self.control.get("/unhitch/v1/policies")).raise_for_status().json()
        found = next(each["mitigation"] for each in told["data"] if each["name"] == "rotating")
        return bool(found == rotating and (told["problem"] is not None) == broken)


def write_policy(folder: Path, text: str) -> None:
    """In one step, so that no half of a file is read."""
    new = folder / "policy.new"
    new.write_text(text, "utf-8")
    new.replace(folder / "policy.yaml")


@contextlib.asynccontextmanager
async def running(folder: Path, *, trace: Path | None = None) -> AsyncIterator[World]:
    """Starts the engine and the proxy, and stops them.

    Args:
        folder: For states, logs, keys and the policy file.
        trace: Where the proxy is to write what holds its memory; see `traced`.
    """
    port = free_port()
    engine = RealEngine(folder, extra=["--default-chat-template-kwargs", json.dumps(TEMPLATE_KWARGS)])
    write_policy(folder, policy_file(engine.url, ROTATING[0]))
    key = _add_key(folder / "keys.json")
    async with engine:
        with _proxy(folder, port, trace) as proxy:
            world = World(folder, engine, proxy, port, key)
            async with world.control:
                end = time.monotonic() + 120
                while not await world.state_served():
                    if proxy.poll() is not None or time.monotonic() > end:
                        raise SystemExit(f"the proxy does not serve:\n{(folder / 'proxy.log').read_text()[-4000:]}")
                    await asyncio.sleep(0.5)
                yield world


def _unhitch() -> str:
    return str(Path(sys.executable).with_name("unhitch"))


def _add_key(file: Path) -> str:
    made = subprocess.run(
        [_unhitch(), "keys", "add", "soak", "--file", str(file)], check=True, capture_output=True, text=True
    )
    return made.stdout.strip()


@contextlib.contextmanager
def _proxy(folder: Path, port: int, trace: Path | None) -> Iterator[subprocess.Popen[bytes]]:
    program = [_unhitch()] if trace is None else [sys.executable, "-m", "tests.benchmarks.soak.traced", str(trace)]
    options = ["--policy-file", str(folder / "policy.yaml"), "--keys", str(folder / "keys.json")]
    options += ["--port", str(port), "--default-chat-template-kwargs", json.dumps(TEMPLATE_KWARGS)]
    environment = {**os.environ, "UNHITCH_CONTROL_KEY": CONTROL_KEY, "UNHITCH_CACHE": str(folder / "cache")}
    with (folder / "proxy.log").open("wb") as log:
        process = subprocess.Popen([*program, "serve", *options], stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
