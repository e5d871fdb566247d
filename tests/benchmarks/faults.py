"""What a client gets when an engine or a client misbehaves, and how soon the engine is free: a row for each fault.

    python -m tests.benchmarks.faults [--markdown] [--no-real]

Times are from the client's last byte, or its leaving, to the end of the last generation, as the engine sees it. What is
kept is what `malloc` has given out once a fault was brought about `TIMES` times more; Python's own allocator would hide
it, so the program runs itself again without that one. It needs glibc. The last rows are of a real vLLM that is killed,
or stopped by SIGSTOP.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from tests.benchmarks.tables import Markdown
from tests.real_engine import RealEngine
from tests.server.faults.bad_engine import CHAT, BadEngine, Handler, serving
from tests.server.faults.cases import CASES, ERROR, EVENT, HELLO, OFF, PERTURB, Case, fall_silent, hang
from tests.server.faults.clients import (
    MEGABYTE,
    PATIENT,
    at_random,
    crowd,
    resident_bytes,
    stalled_client,
    two_hundred_megabytes,
)
from tests.server.faults.front import SHORT, Running, proxied
from tests.server.faults.observing import Observed, free, observe
from tests.server.faults.repeating import repeating
from tests.server.faults.visits import CHAT as CHAT_ROUTE
from tests.server.faults.visits import Outcome, Visit, all_of, begun, go
from unhitch.markdown import table as in_markdown
from unhitch_server.upstream.timeouts import Timeouts

TIMES = 200
COLUMNS = (
    "fault",
    "request",
    "passed through",
    "mitigated",
    "engine free after, ms",
    "counted as",
    f"kept after {TIMES}: KiB, connections, tasks",
)
REAL = Timeouts(first_byte_seconds=3.0, silence_seconds=3.0)
"""Long enough for a real engine that starts with a prompt, on a machine that does other things."""
NO_ALLOCATOR = {"PYTHONMALLOC": "malloc"}


async def settled(running: Running) -> dict[str, int]:
    """The counters once every request has been counted, which is after its client has the last byte."""
    while running.counters.under_way:
        await asyncio.sleep(0.005)
    return running.counters.as_dict()


async def row(case: Case) -> tuple[str, ...]:
    """Both ways of one fault."""
    seen: dict[str, Observed] = {}
    counted = set()
    for mitigation in ("off", "perturb"):
        engine = BadEngine()
        async with serving(engine), proxied(engine.url) as running:
            await running.client.post(CHAT, json=HELLO, headers=OFF if mitigation == "off" else PERTURB)
            before = await settled(running)
            engine.handler = case.handler
            seen[mitigation] = await observe(running, engine, case, mitigation)
            after = await settled(running)
        changed = {name for name, count in after.items() if count != before[name]} - {"requests"}
        counted.add(" and ".join(sorted(changed)))
        if after["unmitigated"]:
            raise SystemExit(f"{case.fault}: {after['unmitigated']} answers without the mitigation that was due")
    return (
        case.fault,
        "stream" if case.stream else "plain",
        f"{seen['off'].status}, {seen['off'].gets}",
        f"{seen['perturb'].status}, {seen['perturb'].gets}",
        f"{max(each.free_seconds for each in seen.values()) * 1000:.0f}",
        ", ".join(sorted(counted)),
    )


async def leaving(what: str, handler: Handler, *, stream: bool) -> tuple[str, ...]:
    """A client that leaves after half a second, mitigated and not."""
    seconds = []
    for headers in (OFF, PERTURB):
        engine = BadEngine()
        async with serving(engine), proxied(engine.url, timeouts=PATIENT) as running:
            await running.client.post(CHAT, json=HELLO, headers=headers)
            engine.handler = handler
            with contextlib.suppress(httpx.ReadTimeout):
                await running.client.post(CHAT, json={**HELLO, "stream": stream}, headers=headers, timeout=0.5)
            seconds.append(await free(engine))
            if running.counters.gone != 1:
                raise SystemExit(f"{what}: {running.counters}")
    return (what, "stream" if stream else "plain", "", "", f"{max(seconds) * 1000:.0f}", "gone")


async def crowded(count: int = 500) -> tuple[str, ...]:
    """Many clients that leave at random."""
    engine = BadEngine()
    async with serving(engine), proxied(engine.url, timeouts=PATIENT) as running:
        await running.client.post(CHAT, json=HELLO, headers=PERTURB)
        engine.handler = at_random
        await crowd(running, count)
        seconds, counters = await free(engine), running.counters
        if counters.unmitigated or counters.failed:
            raise SystemExit(f"a crowd: {counters}")
    what = f"{count} clients leave at random, {len(engine.requests)} of them served"
    return (what, "stream", "", "", f"{seconds * 1000:.0f}", "gone")


async def stalled(write_seconds: float = 3.0) -> tuple[str, ...]:
    """A client that does not read 200 MB."""
    engine = BadEngine()
    async with serving(engine), proxied(engine.url, timeouts=PATIENT, write_seconds=write_seconds) as running:
        await running.client.post(CHAT, json=HELLO, headers=PERTURB)
        engine.handler = two_hundred_megabytes
        before = resident_bytes()
        with stalled_client(running, PERTURB):
            await asyncio.sleep(write_seconds / 2)
            grown = resident_bytes() - before
            seconds = write_seconds / 2 + await free(engine, limit=20)
    gets = f"dropped after {write_seconds:g} s; {grown / MEGABYTE:.1f} MiB held"
    return ("a client does not read 200 MiB", "stream", "", gets, f"{seconds * 1000:.0f}", "gone")


class _Mallinfo2(ctypes.Structure):
    """glibc's `struct mallinfo2`."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd")),
        *((name, ctypes.c_size_t) for name in ("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def allocated_kib() -> float:
    """What this process has got from `malloc` and not given back."""
    call = ctypes.CDLL(None).mallinfo2
    call.restype = _Mallinfo2
    info = call()
    return float(info.uordblks + info.hblkhd) / 1024


async def kept(shown: Sequence[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """The rows of `CASES` and of clients that leave, with what each fault keeps."""
    faults = [(case.handler, case.stream, SHORT, 20.0) for case in CASES]
    faults += [(handler, stream, PATIENT, 0.5) for handler, stream in LEAVING.values()]
    found = []
    for timeouts in (SHORT, PATIENT):
        async with repeating(allocated_kib, timeouts) as repeater:
            for handler, stream, its, patience in faults:
                if its is timeouts:
                    each = await repeater.kept(handler, TIMES, stream=stream, patience_seconds=patience)
                    found.append(f"{each.memory:.0f}, {each.connections}, {each.tasks}")
            if repeater.running.counters.unmitigated:
                raise SystemExit(f"repetitions: {repeater.running.counters}")
    return [(*cells, held) for cells, held in zip(shown, found, strict=True)]


async def real_rows() -> list[tuple[str, ...]]:
    """A real engine that hangs, goes on, hangs again, and is killed; requests in each state of their lives."""
    with tempfile.TemporaryDirectory() as folder:
        async with RealEngine(Path(folder)) as engine, proxied(engine.url, timeouts=REAL) as running:
            found = await _real("vLLM is stopped", running, engine, killed=False)
            found += await _real("vLLM is killed", running, engine, killed=True)
            if running.counters.unmitigated or running.counters.under_way:
                raise SystemExit(f"a real engine: {running.counters}")
    return found


async def _real(what: str, running: Running, engine: RealEngine, *, killed: bool) -> list[tuple[str, ...]]:
    """Rows of a fault before the answer, before the first token and within the stream."""
    pair = ("off", "perturb;seed=1")
    await all_of(running.client, [Visit(CHAT_ROUTE, each, False, tokens=8, endless=False) for each in pair])
    before = await settled(running)
    within, first = ([Outcome(Visit(CHAT_ROUTE, each, True)) for each in pair] for _ in range(2))
    plain = [Outcome(Visit(CHAT_ROUTE, each, False)) for each in pair]
    asked = [asyncio.create_task(go(running.client, each)) for each in within]
    await begun(within)
    engine.hang()
    asked += [asyncio.create_task(go(running.client, each)) for each in plain + first]
    await asyncio.sleep(0.5)
    since = time.monotonic()
    if killed:
        await engine.kill()
    await asyncio.gather(*asked)
    free_after = ""
    if not killed:
        engine.go_on()
        woken = time.monotonic()
        while await engine.working():
            await asyncio.sleep(0.02)
        free_after = f"{(time.monotonic() - woken) * 1000:.0f}"
    after = await settled(running)
    changed = {name: count - before[name] for name, count in after.items() if count != before[name]}
    if changed != {"requests": len(asked), "failed": len(asked)}:
        raise SystemExit(f"{what}: counted as {changed}")
    told = max(each.ended for each in within + plain + first) - since
    note = f"; all are told in {told * 1000:.0f} ms" if killed else ""
    ways = (("before the answer", plain), ("before the first token", first), ("within the stream", within))
    return [
        (
            f"{what} {when}{note}",
            "stream" if each[0].visit.stream else "plain",
            *(_words(outcome) for outcome in each),
            free_after,
            "failed",
            "",
        )
        for when, each in ways
    ]


def _words(outcome: Outcome) -> str:
    if outcome.complete or outcome.error is None or (outcome.status == 200 and not outcome.mitigated):
        raise SystemExit(f"{outcome.visit} of a real engine: {outcome.status} {outcome.body[-300:]!r}")
    return f"{outcome.status}, {EVENT if outcome.status == 200 else ERROR}"


LEAVING: dict[str, tuple[Handler, bool]] = {
    "a client leaves": (hang, False),
    "a client leaves before the first token": (hang, True),
    "a client leaves after the first token": (fall_silent, True),
}


async def rows(*, real: bool) -> list[tuple[str, ...]]:
    """All of them.

    Args:
        real: Whether a real engine is started for the last ones.
    """
    measured = [await row(case) for case in CASES]
    measured += [await leaving(what, handler, stream=stream) for what, (handler, stream) in LEAVING.items()]
    return [
        *await kept(measured),
        (*await crowded(), ""),
        (*await stalled(), ""),
        *(await real_rows() if real else []),
    ]


def main(
    markdown: Markdown = False,
    real: Annotated[bool, typer.Option(help="Whether a real vLLM is killed, too.")] = True,
) -> None:
    """Brings about every fault and prints what came of it."""
    if not os.environ.items() >= NO_ALLOCATOR.items():
        again = [sys.executable, "-m", __spec__.name, *sys.argv[1:]]
        os.execve(sys.executable, again, os.environ | NO_ALLOCATOR)  # noqa: S606 - no shell is wanted
    found = asyncio.run(rows(real=real))
    if markdown:
        typer.echo(in_markdown(COLUMNS, found))
        return
    shown = Table(*COLUMNS, title=f"faults; first byte in {SHORT.first_byte_seconds} s, silence as long")
    for cells in found:
        shown.add_row(*cells)
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
