"""`unhitch scorecards`: what was validated on which model, and with what outcome."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from unhitch.evidence.scorecard import Comparison, Scorecard
from unhitch.markdown import table as in_markdown
from unhitch_server.cli import options
from unhitch_server.cli.arm_tables import interval, percent

HEADINGS = ("model", "strategy", "good without", "good with", "worse in", "verdict", "judge", "questions")


def scorecards(
    evidence: options.Evidence = None,
    allow_plugin: options.Plugins = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Lists the scorecards that ship with unhitch, and those in folders of yours.

    A pass is "withdrawn", and a failure "replaced", where another scorecard of the same strategy and model decides.
    """
    from unhitch.evidence.deciding import verdicts
    from unhitch.evidence.library import Library
    from unhitch.registry import Registry

    library = Library.read(evidence or (), Registry.load(allow_plugin or ()))
    cards = sorted(library.scorecards, key=lambda each: (each.card.name, each.plain))
    rows = [_row(each.card, verdict) for each, verdict in zip(cards, verdicts(cards), strict=True)]
    if markdown:
        print(in_markdown(HEADINGS, rows))
        return
    table = Table(*HEADINGS)
    for row in rows:
        table.add_row(*row, style="red" if row[5] in ("fails", "withdrawn") else None)
    console = Console()
    console.print(table)
    for fault in library.unreadable:
        console.print(f"{fault.file}: {fault.reason}", style="red", markup=False, soft_wrap=True)


def _row(card: Scorecard, verdict: str) -> tuple[str, ...]:
    without, with_it = card.arms[0].good, card.arms[1].good
    return (
        card.name,
        f"`{_short(card.strategy.mitigation)}`",
        f"{percent(without)} ({interval(without)})",
        f"{percent(with_it)} ({interval(with_it)})",
        ", ".join(each.name for each in _failing(card)),
        verdict,
        card.judge.name,
        str(card.suite.questions),
    )


def _failing(card: Scorecard) -> list[Comparison]:
    return [each for each in (*card.cells, *card.checks) if each.verdict == "fail"]


def _short(mitigation: str) -> str:
    """Without the parameters that every request has: what tables have room for."""
    words = mitigation.replace("|", "\\|")
    return words if len(words) <= 60 else f"{words[:57]}..."
