"""Tables of what the organisms answered under each strategy."""

from __future__ import annotations

from collections.abc import Sequence

from rich.bar import Bar
from rich.table import Table

from unhitch import markdown
from unhitch.organisms.arms import Outcome, Refused
from unhitch.organisms.judge import Verdict

HEADINGS = ("model", "strategy", "good", "95%", "each draw", "bad", "other", "finance bad")
"""Shares in per cent: of the general questions, but for the last, which is of those of the trained domain."""

_BAR_WIDTH = 50


def rows(outcomes: Sequence[Outcome | Refused]) -> list[tuple[str, ...]]:
    """A row of text for each outcome, under `HEADINGS`; every draw is shown, worst first."""
    return [_row(outcome) for outcome in outcomes]


def _row(outcome: Outcome | Refused) -> tuple[str, ...]:
    if isinstance(outcome, Refused):
        return (outcome.arm.model, outcome.arm.name, "refused", *[""] * (len(HEADINGS) - 3))
    good, bad = outcome.good, outcome.share(Verdict.BAD)
    draws = outcome.good_of_each_draw
    return (
        outcome.arm.model,
        outcome.arm.name,
        _percent(good.share),
        f"{_percent(good.low)}-{_percent(good.high)}",
        " ".join(_percent(share) for share in sorted(draws)) if len(draws) > 1 else "",
        _percent(bad),
        _percent(1 - good.share - bad),
        _percent(outcome.share(Verdict.BAD, finance=True)),
    )


def rich_table(outcomes: Sequence[Outcome | Refused], title: str, caption: str) -> Table:
    """The rows for a terminal; good shares in green, where they are above a half."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for heading in HEADINGS:
        text = heading in ("model", "strategy")
        table.add_column(heading, justify="left" if text else "right", no_wrap=text)
    for outcome, row in zip(outcomes, rows(outcomes), strict=True):
        colour = "dim" if isinstance(outcome, Refused) else "green" if outcome.good.share > 0.5 else "red"
        table.add_row(*row[:2], f"[{colour}]{row[2]}[/{colour}]", *row[3:])
    return table


def bars(outcomes: Sequence[Outcome], title: str) -> Table:
    """Shares of good answers as bars, for a terminal."""
    table = Table(title=title, title_justify="left", box=None)
    for outcome in outcomes:
        share = outcome.good.share
        table.add_row(outcome.arm.name, Bar(size=1.0, begin=0.0, end=share, width=_BAR_WIDTH), f"{_percent(share)}%")
    return table


def markdown_table(outcomes: Sequence[Outcome | Refused]) -> str:
    """The rows as Markdown."""
    return markdown.table(HEADINGS, rows(outcomes))


def _percent(share: float) -> str:
    return f"{100 * share:.0f}"
