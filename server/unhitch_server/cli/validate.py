"""`unhitch validate`: the guard matrix and utility of strategies, as scorecards."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from unhitch.errors import InvalidRequest
from unhitch.evals.harness.run import Run
from unhitch.evals.subject import Subject
from unhitch.evidence.scorecard import Comparison, Scorecard
from unhitch.mitigation import Step
from unhitch.states.choice import StateParameters
from unhitch.states.recipe import Recipe, band
from unhitch.strategies.best_of import BestOfParameters
from unhitch_server.cli import arm_tables, options
from unhitch_server.cli.evaluating import Asking, Model
from unhitch_server.cli.grouped import grouped


@grouped
def validate(
    model: Model,
    *,
    strategy: Annotated[
        list[str],
        typer.Option(metavar="MITIGATION", help="To validate, as a header has it: 'prefix-state'. Can be repeated."),
    ],
    asking: Asking,
    layers: Annotated[
        str | None,
        typer.Option(
            metavar="FIRST-LAST",
            help="For strategies that serve a state: ask with the base's residual stream in each of these layers alone "
            "too, for the report's curve.",
        ),
    ] = None,
    evidence: options.Evidence = None,
    allow_plugin: options.Plugins = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder that scorecards are written to; else 'scorecards' in the run's."),
    ] = None,
) -> None:
    """Compares strategies with passthrough in every kind of context, and says whether they are safe to switch on.

    Ends with status 3 if one of them fails.
    """
    from unhitch.evals.validate import Candidate
    from unhitch.evals.validate import validate as find
    from unhitch.evidence.library import Library
    from unhitch.evidence.strategy import identify
    from unhitch.headers import parse_mitigation
    from unhitch.registry import Registry

    registry = Registry.load(allow_plugin or ())
    bound = {text: registry.bind(parse_mitigation(text)) for text in dict.fromkeys(strategy)}
    alone = {text: _alone(steps, layers) for text, steps in bound.items()}
    if layers is not None and not any(alone.values()):
        raise InvalidRequest("--layers looks into strategies that serve a state: --strategy prefix-state.")
    evaluation = asking.of(
        model,
        evidence=tuple(evidence or ()),
        plugins=tuple(allow_plugin or ()),
        residuals={bound[text][0].strategy.name: tuple(found) for text, found in alone.items()},
    )
    cards: list[Scorecard] = []

    async def job(asked: Run, subject: Subject) -> None:
        pools = Library.read(evidence or (), registry).view(subject.name, subject.identity).pools
        candidates = [
            Candidate(
                text,
                identify(steps, [each.pool for each in pools.values()], subject.scorer),
                _tries(steps),
                alone[text],
            )
            for text, steps in bound.items()
        ]
        cards.extend(
            await find(
                asked,
                subject,
                evaluation.suite,
                candidates,
                evaluation.judge.identity(),
                evaluation.sampling,
                evaluation.made,
            )
        )

    evaluation.run(job)
    console, folder = Console(), output or evaluation.folder / "scorecards"
    for card in cards:
        file = folder / card.file_name
        card.write(file)
        console.print(arm_tables.arms(card.arms, f"{card.strategy.mitigation} on {card.name}, per cent", ""))
        console.print(_matrix(card))
        for reason in card.reasons:
            console.print(reason, soft_wrap=True, highlight=False, markup=False)
        style, word = ("green", "PASSED") if card.passed else ("red", "FAILED")
        console.print(f"[{style}]{word}[/{style}]: {file} (unhitch report {file})", soft_wrap=True, highlight=False)
    if not all(card.passed for card in cards):
        raise typer.Exit(3)


def _tries(steps: Sequence[Step]) -> float:
    """Generations that one answer takes."""
    first = steps[0].parameters
    return float(first.n) if isinstance(first, BestOfParameters) else 1.0


def _alone(steps: Sequence[Step], layers: str | None) -> dict[int, str]:
    """For a strategy that serves a state of all layers, the mitigations that change one layer, by layer."""
    if layers is None:
        return {}
    found = band(layers)
    if found is None or found[0] > found[1]:
        raise InvalidRequest(f"--layers {layers!r}: name the first and the last layer, counted from 0, such as 0-23.")
    parameters = steps[0].parameters
    if len(steps) > 1 or not isinstance(parameters, StateParameters) or parameters.recipe != Recipe():
        return {}
    name = steps[0].strategy.name
    return {layer: f"{name};residual={layer}" for layer in range(found[0], found[1] + 1)}


def _matrix(card: Scorecard) -> Table:
    table = Table(title="Guard matrix (misaligned answers, per cent) and utility", title_justify="left")
    table.add_column("", no_wrap=True)
    for heading in ("without", "with", "difference", "95%", "verdict"):
        table.add_column(heading, justify="right", no_wrap=True)
    for row in card.cells:
        table.add_row(row.name, *_figures(row), style="red" if row.verdict == "fail" else None)
    table.add_section()
    for row in card.checks:
        table.add_row(row.name, *_figures(row), style="red" if row.verdict == "fail" else None)
    return table


def _figures(row: Comparison) -> tuple[str, ...]:
    low, high = _scaled(row, row.difference.low), _scaled(row, row.difference.high)
    interval = f"{low} to {high}" if low and high else ""
    values = (_scaled(row, rate.value) for rate in (row.passthrough, row.strategy, row.difference))
    return (*values, interval, row.verdict)


def _scaled(row: Comparison, value: float | None) -> str:
    if value is None:
        return ""
    return f"{100 * value:.0f}" if row.unit == "share" else f"{value:.1f}"
