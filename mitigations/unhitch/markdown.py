"""Tables in Markdown, as the documents and reports have them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], *, text: int | None = None) -> str:
    """All lines of a table, without a line feed at the end.

    Args:
        headings: Of the columns.
        rows: A cell for each column, with what Markdown would read as its own escaped.
        text: So many of the first columns are text, and the others figures, set to the right; all are text without it.
    """
    left = len(headings) if text is None else text
    rule = ["---" if index < left else "--:" for index in range(len(headings))]
    return "\n".join(f"| {' | '.join(line)} |" for line in (headings, rule, *rows))
