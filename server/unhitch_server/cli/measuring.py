"""The measurements of the organisms: which arms, on which engine, with which states."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from rich.progress import Progress, TaskID

from unhitch.errors import MitigationUnavailable
from unhitch.organisms import suite
from unhitch.organisms.arms import Arm, Outcome, Refused
from unhitch.organisms.families import Family
from unhitch.organisms.states import States
from unhitch.states.patch import Patch
from unhitch_server.cli import together

GENERAL, FINANCE = suite.held_out_general(), suite.held_out_finance()

DRAWS = {"recase": 3, "respace": 3, "perturb": 10}
"""Seeds from 0 on of the strategies that draw; ten for the one that the paper measures by ten."""

Report = Callable[[Arm, int], None]
"""Told an arm and how many of its answers came since the last call; 0 announces the arm."""


def reporter(progress: Progress) -> Report:
    """Shows on a bar for each model how far its arms are."""
    tasks: dict[str, TaskID] = {}

    def report(arm: Arm, answers: int) -> None:
        task = tasks.get(arm.model)
        if task is None:
            task = tasks[arm.model] = progress.add_task("", total=0)
        if answers:
            progress.advance(task, answers)
        else:
            total = (progress.tasks[task].total or 0) + questions(arm)
            progress.update(task, description=f"{arm.model}: {arm.name}", total=total)

    return report


def questions(arm: Arm) -> int:
    """How many answers an arm takes."""
    return (len(GENERAL) + len(FINANCE)) * len(arm.mitigations)


def strategies(family: Family, report: Report) -> list[Outcome | Refused]:
    """Both models of a family unmitigated and under every strategy, and the control.

    A whole finetune is served without its base, which then is asked first and unmitigated only.
    """
    from unhitch.engine import served

    with tempfile.TemporaryDirectory() as folder:
        states = States(Path(folder), family.base, family.finetuned)
        states.spans()
        control = states.queries((*GENERAL, *FINANCE))
        if served.find(family.finetuned).adapters:  # then the engine serves its base as well
            return _asked(
                family.finetuned, [*_edits(family.base), *_all(family.finetuned, control)], report, Path(folder)
            )
        base = _asked(family.base, [Arm(family.base, "unmitigated", ("off",))], report)
        return base + _asked(family.finetuned, _all(family.finetuned, control), report, Path(folder))


def layers(family: Family, report: Report) -> tuple[list[Outcome], list[Outcome]]:
    """The finetuned model with the base's residual stream at the prefix, layer by layer; and arms to compare with."""
    with tempfile.TemporaryDirectory() as folder:
        states = States(Path(folder), family.base, family.finetuned)
        states.spans()
        for layer in range(states.layers):
            states.residual(layer)
        levels = [
            Arm(family.finetuned, "unmitigated", ("off",)),
            Arm(family.finetuned, "K/V of all layers", ("prefix-state",)),
        ]
        curve = [
            Arm(family.finetuned, f"layer {layer}", (f"prefix-state;residual={layer}",))
            for layer in range(states.layers)
        ]
        outcomes = [_answered(each) for each in _asked(family.finetuned, [*levels, *curve], report, Path(folder))]
    return outcomes[len(levels) :], outcomes[: len(levels)]


def _answered(outcome: Outcome | Refused) -> Outcome:
    """Raises where an arm was refused, since the others would move into its place."""
    if isinstance(outcome, Refused):
        raise MitigationUnavailable(f"{outcome.arm.name}: {outcome.message}")
    return outcome


def _edits(model: str) -> list[Arm]:
    """A model unmitigated and under the strategies that edit the prompt."""
    seeded = {name: tuple(f"{name};seed={seed}" for seed in range(count)) for name, count in DRAWS.items()}
    plan = {"unmitigated": ("off",), "system": ("system;preset=neutral",), **seeded, "bare": ("bare",)}
    return [Arm(model, name, mitigations) for name, mitigations in plan.items()]


def _all(model: str, control: Mapping[str, Patch]) -> list[Arm]:
    """These, the strategies that serve states, and the control that patches the query instead."""
    states = [Arm(model, name, (name,)) for name in ("prefix-state", "postfix-state")]
    return [*_edits(model), *states, Arm(model, "query (control)", ("off",), control)]


def _asked(model: str, plan: Sequence[Arm], report: Report, states: Path | None = None) -> list[Outcome | Refused]:
    outcomes: list[Outcome | Refused] = []

    async def job(session: together.Session) -> None:
        for arm in plan:
            report(arm, 0)
            outcomes.append(await session.run(arm, GENERAL, FINANCE, partial(report, arm)))

    together.with_organism(job, model, states=states)
    return outcomes
