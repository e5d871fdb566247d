"""Tables of arms, as evaluations print them."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from unhitch.evidence.pool import Rate
from unhitch.evidence.scorecard import ArmRow

_NAME_WIDTH = 44


def arms(rows: Sequence[ArmRow], title: str, caption: str) -> Table:
    """Arms over neutral questions, shares in per cent."""
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    table.add_column("asked", max_width=_NAME_WIDTH)
    for heading in ("good", "95%", "misaligned", "refusals", "words", "EM-F1"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        score = "" if row.em_f1 is None else f"{row.em_f1:.0f}"
        words = "" if row.words.value is None else f"{row.words.value:.0f}"
        figures = (percent(row.good), interval(row.good), percent(row.misaligned), percent(row.refusals))
        table.add_row(row.name, *figures, words, score)
    return table


def percent(rate: Rate) -> str:
    """A share in per cent; empty where there is none."""
    return "" if rate.value is None else f"{100 * rate.value:.0f}"


def interval(rate: Rate) -> str:
    """Its interval in per cent; empty where there is none."""
    return "" if rate.low is None or rate.high is None else f"{100 * rate.low:.0f}-{100 * rate.high:.0f}"
