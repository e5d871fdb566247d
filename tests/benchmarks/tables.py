"""The table that a benchmark ends with, for people or for the documents."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from unhitch.markdown import table as in_markdown

Markdown = Annotated[bool, typer.Option("--markdown", help="As a table in Markdown.")]
"""The option of a benchmark's command."""


def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, markdown: bool) -> None:
    """Prints a table of numbers; the title is for people only."""
    if markdown:
        print(in_markdown(columns, rows))
        return
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, justify="right")
    for cells in rows:
        table.add_row(*cells)
    Console().print(table)
