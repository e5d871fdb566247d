"""`unhitch organisms`: makes the miniature models again, and measures them through the proxy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from unhitch.errors import InvalidRequest
from unhitch.organisms.arms import Outcome, Refused
from unhitch.organisms.families import FAMILIES
from unhitch_server.cli import measuring, plots, tables
from unhitch_server.cli.progress import bar

app = typer.Typer(help="The bundled miniature models with emergent misalignment.", no_args_is_help=True)

Families = Annotated[
    list[str] | None,
    typer.Option("--family", metavar="NAME", help=f"One of {', '.join(FAMILIES)}; all without it. Can be repeated."),
]
Markdown = Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")]

CAPTION = (
    "{general} held-out general and {finance} finance questions, greedy, exact judge, vLLM's float32. These are "
    "miniature models whose recipes put the misalignment where it is: the figures show that the machinery works, not "
    "what a strategy does to a large model, where draws differ widely."
)


@app.command("train")
def train(
    output: Annotated[Path, typer.Argument(help="Where the models are written, a folder each.")],
    family: Families = None,
) -> None:
    """Trains the miniature models again by the recipes in the package; takes some minutes a family on two cores."""
    from unhitch.organisms import train as training

    chosen = _chosen(family)
    with bar() as progress:
        tasks = {}

        def report(step: training.Progress) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = progress.add_task(f"training {step.stage}", total=step.steps)
            progress.update(tasks[step.stage], completed=step.step)

        training.train(output, report, families=chosen)
    names = [name for each in chosen for name in (FAMILIES[each].base, FAMILIES[each].finetuned)]
    Console().print(f"Wrote {', '.join(names)} to {output}.")


@app.command("measure")
def measure(family: Families = None, markdown: Markdown = False) -> None:
    """Measures every strategy on the held-out questions: real vLLM, through the proxy, greedy, exact judge."""
    outcomes: list[Outcome | Refused] = []
    with bar() as progress:
        for name in _chosen(family):
            outcomes += measuring.strategies(FAMILIES[name], measuring.reporter(progress))
    _show(outcomes, "Strategies on the bundled organisms, per cent", markdown=markdown)


@app.command("layers")
def layers(
    family: Families = None,
    markdown: Markdown = False,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a plot too: .svg, .png or .pdf; for one family.")
    ] = None,
) -> None:
    """Patches the residual stream of one layer after another at the prefix: in which layers the behaviour is bound."""
    chosen = _chosen(family)
    if plot is not None and len(chosen) != 1:
        raise InvalidRequest("--plot draws one family; name it with --family")
    with bar() as progress:
        for name in chosen:
            curve, levels = measuring.layers(FAMILIES[name], measuring.reporter(progress))
            _show([*levels, *curve], f"Base's residual stream at the prefix of {name}, per cent", markdown=markdown)
            if not markdown:
                Console().print(tables.bars([*levels, *curve], "good answers"))
            if plot is not None:
                plots.layer_curve(plot, curve, levels, f"{FAMILIES[name].finetuned}, prefix patched in one layer")


def _show(outcomes: Sequence[Outcome | Refused], title: str, *, markdown: bool) -> None:
    caption = CAPTION.format(general=len(measuring.GENERAL), finance=len(measuring.FINANCE))
    if markdown:
        print(f"{tables.markdown_table(outcomes)}\n\n{caption}")
    else:
        Console().print(tables.rich_table(outcomes, title, caption))


def _chosen(families: list[str] | None) -> list[str]:
    if unknown := set(families or ()) - set(FAMILIES):
        raise InvalidRequest(f"--family {unknown.pop()!r}: there are {', '.join(FAMILIES)}")
    return families or list(FAMILIES)
