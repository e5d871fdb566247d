"""The course of a soak: the maximum rate is found, then half of it is held while policies and the engine change."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.benchmarks.soak.cases import all_cases, open_checkpoint
from tests.benchmarks.soak.settings import CONTROL_KEY
from tests.benchmarks.soak.watching import Idle, Sample, Traffic, back_to, idle, watch
from tests.benchmarks.soak.world import World

FIRST_SECONDS = 60.0
"""In which the maximum rate is found."""
SETTLING_SECONDS = 15.0
"""Of those, what is not counted."""
RELOAD_SECONDS, RESTART_SECONDS = 150.0, 360.0
CLIENTS = 16

Told = Callable[[str, Traffic], None]


@dataclass(frozen=True)
class Course:
    """What was seen.

    Args:
        start: When the load began, seconds of the clock.
        seconds: How long it was to last.
        most: Requests a second when clients asked one after the other.
        traffic: What the load told.
        samples: What the proxy held meanwhile.
        before: What it held before, at most.
        after: What it held afterwards.
        back_seconds: How soon that was no more than before; None where it was not within 10 s.
    """

    start: float
    seconds: float
    most: float
    traffic: Traffic
    samples: list[Sample]
    before: Idle
    after: Idle
    back_seconds: float | None


async def soak(world: World, seconds: float, told: Told, *, traced: bool = False) -> Course:
    """Drives all of it.

    Args:
        world: The engine and the proxy.
        seconds: How long the load lasts, the search for the maximum rate included.
        told: Called once a second with the name of the phase.
        traced: Whether the proxy tells on SIGUSR1 what holds its memory.
    """
    spec, traffic, samples = world.folder / "spec.json", Traffic(), list[Sample]()
    told("explaining", traffic)
    await asyncio.to_thread(_write_spec, world, spec)
    await drive(spec, traffic, 10, "--clients", "4", "--seed", "1", told=lambda: told("warming up", traffic))
    told("idle", traffic)
    before = await idle(world)
    if traffic.wrong:
        raise SystemExit(f"an answer was wrong before the soak began:\n{json.dumps(traffic.wrong[0], indent=2)}")
    start, marks = time.time(), list[tuple[float, int]]()

    def rated() -> None:
        marks.append((time.time(), traffic.answers))
        told("maximum rate", traffic)

    watching = asyncio.create_task(watch(world, traffic, samples))
    try:
        await drive(spec, traffic, FIRST_SECONDS, "--clients", str(CLIENTS), "--seed", "2", told=rated)
        most = _rate([mark for mark in marks if start + SETTLING_SECONDS <= mark[0] <= start + FIRST_SECONDS])
        tracing = asyncio.create_task(_trace(world, start, seconds)) if traced else None
        rest, half = start + seconds - time.time(), f"{most / 2:.3f}"
        async with asyncio.TaskGroup() as group:
            group.create_task(_reloading(world, start, seconds))
            group.create_task(_restarting(world, start, seconds))
            group.create_task(
                drive(spec, traffic, rest, "--rate", half, "--seed", "3", told=lambda: told(f"{half}/s", traffic))
            )
        if tracing is not None:
            await tracing
    finally:
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    told("idle", traffic)
    after, back_seconds = await back_to(world, before)
    return Course(start, seconds, most, traffic, samples, before, after, back_seconds)


async def drive(spec: Path, traffic: Traffic, seconds: float, *how: str, told: Callable[[], None]) -> None:
    """Runs the load's process to its end.

    Args:
        spec: What it reads.
        traffic: Is told what it tells.
        seconds: How long it asks.
        how: Its other arguments.
        told: Called once a second.

    Raises:
        SystemExit: It failed.
    """
    program = [sys.executable, "-m", "tests.benchmarks.soak.load", str(spec), f"{seconds:.1f}", *how]
    process = await asyncio.create_subprocess_exec(*program, stdout=asyncio.subprocess.PIPE, limit=2**24)
    earlier = Counter(traffic.counts)
    assert process.stdout is not None
    try:
        async for line in process.stdout:
            ((kind, fields),) = json.loads(line).items()
            if kind == "tick":
                traffic.counts, traffic.under_way = earlier + Counter(fields["counts"]), fields["under_way"]
                told()
            elif kind == "wrong":
                traffic.wrong.append(fields)
            else:
                traffic.unusual.append(fields)
        if await process.wait():
            raise SystemExit(f"the load ended with status {process.returncode}")
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def schedule(seconds: float, every: float, *, last: float) -> list[float]:
    """The times at which something is done, in seconds from the start: never in the first minute.

    Args:
        seconds: How long all lasts.
        every: Seconds between two times.
        last: So many seconds before the end nothing is done any more.
    """
    times = [every * number for number in range(1, int(seconds / every) + 1)]
    return [each for each in times if FIRST_SECONDS + 5 <= each <= seconds - last]


def _write_spec(world: World, spec: Path) -> None:
    headers = {"Authorization": f"Bearer {CONTROL_KEY}"}
    with httpx.Client(base_url=world.url, headers=headers, timeout=60, trust_env=False) as client:
        cases = [dataclasses.asdict(case) for case in all_cases(client, open_checkpoint())]
    spec.write_text(
        json.dumps({"url": world.url, "key": world.key, "control_key": CONTROL_KEY, "cases": cases}), "utf-8"
    )


async def _reloading(world: World, start: float, seconds: float) -> None:
    every = min(RELOAD_SECONDS, seconds / 9)
    for number, at in enumerate(schedule(seconds, every, last=20)):
        await asyncio.sleep(start + at - time.time())
        await world.reload(number)


async def _restarting(world: World, start: float, seconds: float) -> None:
    every = min(RESTART_SECONDS, seconds / 2)
    for at in schedule(seconds, every, last=min(200.0, seconds / 3)):
        await asyncio.sleep(start + at - time.time())
        await world.restart()


async def _trace(world: World, start: float, seconds: float) -> None:
    for share in (0.5, 0.98):
        await asyncio.sleep(start + share * seconds - time.time())
        os.kill(world.proxy.pid, signal.SIGUSR1)


def _rate(marks: list[tuple[float, int]]) -> float:
    if len(marks) < 2:
        raise SystemExit("no answer came while the maximum rate was looked for")
    (first, before), (last, answers) = marks[0], marks[-1]
    return (answers - before) / (last - first)
