"""Mixed load at half the maximum rate on a real engine that is killed now and then, behind a policy file that changes.

    python -m tests.benchmarks.soak [--minutes 30] [--markdown] [--plot FILE.svg]

Ends with 0 where all held: every answer is what was asked for and says so, only a dead engine brings about errors, and
memory, sockets and tasks come back to what they were.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import tempfile
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tests.benchmarks.soak.drawing import draw
from tests.benchmarks.soak.driving import Course, soak
from tests.benchmarks.soak.verdict import Row, out_of_place, rows
from tests.benchmarks.soak.watching import Traffic
from tests.benchmarks.soak.world import running
from tests.benchmarks.tables import Markdown
from unhitch.markdown import table as in_markdown

SHOWN = 5
"""How many faults are printed in full."""


def main(
    minutes: Annotated[float, typer.Option(min=2.5, help="How long the load lasts.")] = 30.0,
    markdown: Markdown = False,
    plot: Annotated[Path | None, typer.Option(help="Draw memory, sockets and rate over time there.")] = None,
    keep: Annotated[Path | None, typer.Option(help="A new folder for logs and samples; else they are dropped.")] = None,
    trace: Annotated[
        Path | None, typer.Option(help="Write there what the proxy holds since half of the time; costs speed.")
    ] = None,
) -> None:
    """Soaks the proxy, prints what was seen, and says by its status whether all held."""
    with tempfile.TemporaryDirectory(prefix="unhitch-soak-") as temporary:
        folder = (keep or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        held = asyncio.run(_run(folder, minutes * 60, plot, trace, markdown=markdown))
    raise SystemExit(0 if held else 1)


async def _run(folder: Path, seconds: float, plot: Path | None, trace: Path | None, *, markdown: bool) -> bool:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("vLLM starts", total=seconds)

        def told(phase: str, traffic: Traffic) -> None:
            words = f"{phase}: {traffic.answers:,} answers, {traffic.under_way} under way, {len(traffic.wrong)} wrong"
            begun = phase.endswith(("rate", "/s"))
            progress.update(task, description=words, advance=1 if begun else 0)

        async with running(folder, trace=trace) as world:
            course = await soak(world, seconds, told, traced=trace is not None)
            final = await world.status()
    _keep(folder, course, final)
    found = rows(world, course, final)
    _print(found, markdown=markdown)
    if plot is not None:
        draw(plot, world, course)
    faults = [*world.faults, *map(_shown, course.traffic.wrong), *map(_shown, out_of_place(world, course))]
    for fault in faults[:SHOWN]:
        console.print(fault, markup=False, highlight=False, soft_wrap=True)
    if len(faults) > SHOWN:
        console.print(f"... and {len(faults) - SHOWN} more")
    return not faults and all(row.held is not False for row in found)


def _shown(fault: dict[str, Any]) -> str:
    return json.dumps(fault, indent=2, ensure_ascii=False)


def _keep(folder: Path, course: Course, final: dict[str, Any]) -> None:
    told = {
        "start": course.start,
        "status": final,
        "wrong": course.traffic.wrong,
        "unusual": course.traffic.unusual,
        "samples": [dataclasses.asdict(each) for each in course.samples],
    }
    (folder / "seen.json").write_text(json.dumps(told, indent=1), "utf-8")


def _print(found: list[Row], *, markdown: bool) -> None:
    words = {True: "yes", False: "NO", None: ""}
    columns = ("what", "seen", "held")
    cells = [(row.what, row.seen, words[row.held]) for row in found]
    if markdown:
        print(in_markdown(columns, cells))
        return
    table = Table(*columns, title="soak", title_justify="left")
    for row, each in zip(found, cells, strict=True):
        table.add_row(*each, style="red" if row.held is False else None)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
