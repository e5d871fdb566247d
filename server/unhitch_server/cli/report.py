"""`unhitch report`: a scorecard as a page with plots, or as Markdown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from unhitch.errors import EvidenceError, InvalidRequest


def report(
    scorecard: Annotated[Path, typer.Argument(metavar="SCORECARD.json", help="As `unhitch validate` wrote it.")],
    output: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Where it is written; without it the page lies beside the scorecard, and Markdown is printed.",
        ),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Markdown for a pull request instead of a page.")
    ] = False,
) -> None:
    """Makes one self-contained HTML page of a scorecard; it opens anywhere, and loads nothing."""
    from unhitch.evals.report import markdown as as_markdown
    from unhitch.evals.report import page as as_page
    from unhitch.evidence.scorecard import Scorecard

    card = Scorecard.read(scorecard)
    if markdown and output is None:
        print(as_markdown.render(card), end="")
        return
    file = output or scorecard.with_suffix(".html")
    if file.resolve() == scorecard.resolve():
        raise InvalidRequest(f"--output {file} is the scorecard itself; name another file", param="--output")
    text = as_markdown.render(card) if markdown else as_page.render(card)
    try:
        file.write_text(text, "utf-8")
    except OSError as error:
        raise EvidenceError(f"the report cannot be written to {file}: {error.strerror}") from error
    Console(stderr=True).print(f"Wrote {file}.", highlight=False, markup=False, soft_wrap=True)
