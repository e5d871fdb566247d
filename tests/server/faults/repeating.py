"""Brings a fault about again and again, and measures what stays of it in this process."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import httpx

from tests.server.faults.bad_engine import CHAT, BadEngine, Handler, Wire, serving
from tests.server.faults.cases import HELLO, OFF, PERTURB
from tests.server.faults.front import SHORT, Running, proxied
from tests.server.faults.observing import free
from unhitch_server.upstream.timeouts import Timeouts

AT_ONCE = 20


@dataclass(frozen=True)
class Kept:
    """What there is more of after a number of repetitions of a fault.

    Args:
        memory: In the unit of the measure.
        connections: To the engine.
        tasks: Of asyncio.
    """

    memory: float
    connections: int
    tasks: int


@dataclass
class Repeater:
    """A proxy in front of an engine with faults; engine, proxy and clients share this process.

    Args:
        running: The proxy.
        engine: The engine.
        measure: Says how much memory is in use.
    """

    running: Running
    engine: BadEngine
    measure: Callable[[], float]

    async def kept(self, handler: Handler, times: int, *, stream: bool = False, patience_seconds: float = 20.0) -> Kept:
        """What stays of a fault, once it has been brought about a few times.

        Args:
            handler: The fault.
            times: How often it is brought about, for mitigated requests and for others in turn.
            stream: Whether requests are for a stream.
            patience_seconds: After so long a client leaves.
        """
        body = {**HELLO, "stream": stream}

        async def ask(client: httpx.AsyncClient, number: int) -> None:
            with contextlib.suppress(httpx.TransportError):
                await client.post(CHAT, json=body, headers=PERTURB if number % 2 else OFF)

        async def held_after(times: int) -> tuple[float, int, int]:
            self.engine.handler = handler
            url = f"http://127.0.0.1:{self.running.port}"
            for start in range(0, times, AT_ONCE):
                numbers = range(start, min(start + AT_ONCE, times))
                async with httpx.AsyncClient(base_url=url, timeout=patience_seconds, trust_env=False) as client:
                    await asyncio.gather(*(ask(client, number) for number in numbers))
            return await self._held()

        before = await held_after(AT_ONCE)
        after = await held_after(times)
        return Kept(after[0] - before[0], after[1] - before[1], after[2] - before[2])

    async def _held(self) -> tuple[float, int, int]:
        """Memory, connections and tasks after the same few sound requests, without connections that wait for more."""
        await free(self.engine)
        self.engine.handler = Wire.sound
        for headers in (OFF, PERTURB):
            (await self.running.client.post(CHAT, json=HELLO, headers=headers)).raise_for_status()
        self.engine.hang_up()
        self.engine.requests.clear()
        await asyncio.sleep(0.1)
        gc.collect()
        return self.measure(), self.engine.connections, len(asyncio.all_tasks())


@asynccontextmanager
async def repeating(measure: Callable[[], float], timeouts: Timeouts = SHORT) -> AsyncIterator[Repeater]:
    """The proxy and the engine.

    Args:
        measure: Says how much memory is in use.
        timeouts: Of the proxy.
    """
    engine = BadEngine()
    async with serving(engine), proxied(engine.url, timeouts=timeouts) as running:
        yield Repeater(running, engine, measure)
