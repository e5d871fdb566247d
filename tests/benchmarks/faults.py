"""What a client gets when an engine or a client misbehaves, and how soon the engine is free: a row for each fault.

    python -m tests.benchmarks.faults [--markdown]

Times are from the client's last byte, or its leaving, to the end of the last generation, as the engine sees it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import Annotated

import httpx
import typer
from rich.console import Console
from rich.table import Table

from tests.server.faults.bad_engine import CHAT, BadEngine, Handler, serving
from tests.server.faults.cases import CASES, HELLO, OFF, PERTURB, Case, fall_silent, hang
from tests.server.faults.clients import (
    MEGABYTE,
    PATIENT,
    at_random,
    crowd,
    resident_bytes,
    stalled_client,
    two_hundred_megabytes,
)
from tests.server.faults.front import SHORT, proxied
from tests.server.faults.observing import Observed, free, observe

COLUMNS = ("fault", "request", "passed through", "mitigated", "engine free after, ms", "counted as")


async def row(case: Case) -> tuple[str, ...]:
    """Both ways of one fault."""
    seen: dict[str, Observed] = {}
    counted = set()
    for mitigation in ("off", "perturb"):
        engine = BadEngine()
        async with serving(engine), proxied(engine.url) as running:
            await running.client.post(CHAT, json=HELLO, headers=OFF if mitigation == "off" else PERTURB)
            before = running.counters.as_dict()
            engine.handler = case.handler
            seen[mitigation] = await observe(running, engine, case, mitigation)
            after = running.counters.as_dict()
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


async def rows() -> list[tuple[str, ...]]:
    return [
        *[await row(case) for case in CASES],
        await leaving("a client leaves", hang, stream=False),
        await leaving("a client leaves before the first token", hang, stream=True),
        await leaving("a client leaves after the first token", fall_silent, stream=True),
        await crowded(),
        await stalled(),
    ]


def main(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print a table for the docs.")] = False,
) -> None:
    """Brings about every fault and prints what came of it."""
    found = asyncio.run(rows())
    if markdown:
        typer.echo("\n".join(f"| {' | '.join(cells)} |" for cells in (COLUMNS, ("---",) * len(COLUMNS), *found)))
        return
    shown = Table(*COLUMNS, title=f"faults; first byte in {SHORT.first_byte_seconds} s, silence as long")
    for cells in found:
        shown.add_row(*cells)
    Console().print(shown)


if __name__ == "__main__":
    typer.run(main)
