"""What the proxy's process holds, every few seconds."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import psutil

from tests.benchmarks.soak.world import World

EVERY_SECONDS = 5.0
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Sample:
    """One look.

    Args:
        time: Seconds of the clock.
        rss: Resident memory, MiB.
        uss: Of that, what no other process shares, MiB.
        pss: Resident memory, with a fair share of what others use too, MiB.
        descriptors: Open file descriptors.
        sockets: Those that are TCP connections.
        threads: Threads.
        tasks: Tasks of the event loop, but the one that tells.
        answers: Answers that the load had by then.
        requests: The proxy's own counts.
    """

    time: float
    rss: float
    uss: float
    pss: float
    descriptors: int
    sockets: int
    threads: int
    tasks: int
    answers: int
    requests: dict[str, int]


@dataclass
class Traffic:
    """What the load has told so far.

    Args:
        counts: By name, of all phases.
        unusual: Answers that a dead engine brought about, and those of the policy that rotates.
        wrong: Faults of the proxy.
    """

    counts: Counter[str] = field(default_factory=Counter)
    unusual: list[dict[str, Any]] = field(default_factory=list)
    wrong: list[dict[str, Any]] = field(default_factory=list)
    under_way: int = 0

    @property
    def answers(self) -> int:
        """All that was answered, or left."""
        return sum(self.counts[kind] for kind in ("answered", "refused", "down", "wrong"))


async def sample(world: World, answers: int = 0) -> Sample:
    """Looks once. The proxy is looked at before it is asked, so that the question is not counted."""
    process = psutil.Process(world.proxy.pid)
    with process.oneshot():
        memory = process.memory_full_info()
        descriptors, threads = process.num_fds(), process.num_threads()
    sockets = sum(each.status != psutil.CONN_LISTEN for each in process.net_connections("tcp"))
    told = await world.status()
    return Sample(
        time=time.time(),
        rss=memory.rss / MEBIBYTE,
        uss=memory.uss / MEBIBYTE,
        pss=memory.pss / MEBIBYTE,
        descriptors=descriptors,
        sockets=sockets,
        threads=threads,
        tasks=told["tasks"] - 1,
        answers=answers,
        requests=told["requests"],
    )


async def watch(world: World, traffic: Traffic, samples: list[Sample]) -> None:
    """Adds a sample every five seconds."""
    while True:
        samples.append(await sample(world, traffic.answers))
        await asyncio.sleep(EVERY_SECONDS)


@dataclass(frozen=True)
class Idle:
    """What the proxy holds without a request to serve.

    Args:
        sockets: TCP connections.
        descriptors: File descriptors.
        tasks: Tasks.
    """

    sockets: int
    descriptors: int
    tasks: int

    def within(self, other: Idle) -> bool:
        """Whether no number is above the other's."""
        return self.sockets <= other.sockets and self.descriptors <= other.descriptors and self.tasks <= other.tasks


async def idle(world: World, seconds: float = 8.0) -> Idle:
    """The most that is held without a request: looking at the engine's health is work, too."""
    seen = [await _held(world) async for _ in _each_second(seconds)]
    return Idle(*(max(numbers) for numbers in zip(*seen, strict=True)))


async def back_to(world: World, before: Idle, seconds: float = 10.0) -> tuple[Idle, float | None]:
    """How long it takes until no more is held than before; None where it does not come to that.

    Returns:
        What is held then, and the seconds.
    """
    start, found = time.monotonic(), before
    async for _ in _each_second(seconds):
        found = Idle(*await _held(world))
        if found.within(before):
            return found, time.monotonic() - start
    return found, None


async def _held(world: World) -> tuple[int, int, int]:
    seen = await sample(world)
    return seen.sockets, seen.descriptors, seen.tasks


async def _each_second(seconds: float) -> AsyncIterator[None]:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        yield
        await asyncio.sleep(1)
