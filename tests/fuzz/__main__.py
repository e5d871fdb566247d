"""Gives the proxy inputs that nobody would write, and sees what comes of them: a row for each target.

    python -m tests.fuzz [--inputs 100000] [--seed N] [--target NAME] [--markdown]

Ends with an error, and prints the smallest input that fails, where something must not come of one.
"""

from __future__ import annotations

import secrets
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from tests.fuzz.running import Result, Target, fuzz
from tests.fuzz.table import TARGETS
from unhitch.markdown import table
from unhitch_server.cli.progress import bar

COLUMNS = ("target", "inputs", "seconds", "what came of them")

_SHOWN = 6


def main(
    inputs: Annotated[int, typer.Option(min=100, help="Over all targets.")] = 100_000,
    seed: Annotated[int | None, typer.Option(help="For the same inputs again.")] = None,
    target: Annotated[str, typer.Option(help="Only targets whose name holds this.")] = "",
    markdown: Annotated[bool, typer.Option(help="Print a Markdown table, as docs have it.")] = False,
) -> None:
    """Fuzzes the targets, one after the other."""
    chosen = [each for each in TARGETS if target in each.name]
    start = secrets.randbelow(10**9) if seed is None else seed
    errors = Console(stderr=True)
    errors.print(f"--seed {start}")
    results = [_run(each, each.share * inputs // 100, start) for each in chosen]
    rows = [_row(each) for each in results]
    rows.append(
        ("all", f"{sum(each.inputs for each in results):,}", f"{sum(each.seconds for each in results):.0f}", "")
    )
    if markdown:
        print(table(COLUMNS, rows))
    else:
        shown = Table(*COLUMNS)
        for row in rows:
            shown.add_row(*row)
        Console().print(shown)
    failures = [each for each in results if each.failure]
    for each in failures:
        errors.print(f"{each.target}: {each.failure}", markup=False, soft_wrap=True)
    raise SystemExit(1 if failures else 0)


def _run(target: Target, inputs: int, start: int) -> Result:
    with bar() as progress:
        task = progress.add_task(target.name, total=inputs)
        return fuzz(target, inputs, start=start, progress=lambda count: progress.advance(task, count))


def _row(result: Result) -> tuple[str, ...]:
    common = result.came.most_common(_SHOWN)
    rest = result.came.total() - sum(count for _, count in common)
    came = [f"{what}: {count:,}" for what, count in common] + ([f"others: {rest:,}"] if rest else [])
    return result.target, f"{result.inputs:,}", f"{result.seconds:.0f}", "; ".join(came)


if __name__ == "__main__":
    typer.run(main)
