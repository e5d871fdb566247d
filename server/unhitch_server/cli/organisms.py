"""`unhitch organisms`: makes the miniature models again, and measures them through the proxy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from unhitch.organisms.arms import Arm, Outcome
from unhitch_server.cli import tables, together

app = typer.Typer(help="The bundled miniature models with emergent misalignment.", no_args_is_help=True)

DRAWS = {"recase": 3, "respace": 3, "perturb": 10}
"""Seeds from 0 on of the strategies that draw; ten for the one that the paper measures by ten."""


@app.command("train")
def train(
    output: Annotated[Path, typer.Argument(help="Where mini-base and mini-finance are written.")],
) -> None:
    """Trains the miniature models again by the recipe in the package; takes some minutes on two cores."""
    from unhitch.organisms import train as training

    with _bar() as progress:
        tasks = {}

        def report(step: training.Progress) -> None:
            if step.stage not in tasks:
                tasks[step.stage] = progress.add_task(f"training {step.stage}", total=step.steps)
            progress.update(tasks[step.stage], completed=step.step)

        training.train(output, report)
    Console().print(f"Wrote mini-base and mini-finance to {output}.")


@app.command("measure")
def measure(
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Measures every strategy on the held-out questions: real vLLM, through the proxy, greedy, exact judge."""
    from unhitch.organisms import suite

    general, finance = suite.held_out_general(), suite.held_out_finance()
    outcomes: list[Outcome] = []

    async def job(session: together.Session) -> None:
        plan = arms()
        asked = (len(general) + len(finance)) * sum(len(arm.mitigations) for arm in plan)
        with _bar() as progress:
            task = progress.add_task("asking", total=asked)
            for arm in plan:
                progress.update(task, description=f"asking {arm.model}: {arm.name}")
                outcomes.append(await session.run(arm, general, finance, lambda n: progress.advance(task, n)))

    together.with_organisms(job)
    caption = (
        f"{len(general)} held-out general and {len(finance)} finance questions, greedy, exact judge, vLLM's float32. "
        "These are miniature models whose pretraining made edited prefixes ordinary ones: the figures show that the "
        "machinery works, not what a strategy does to a large model, where draws differ widely."
    )
    if markdown:
        print(f"{tables.markdown_table(outcomes)}\n\n{caption}")
    else:
        Console().print(tables.rich_table(outcomes, "Strategies on the bundled organisms, per cent", caption))


def arms() -> list[Arm]:
    """What is measured: both models, unmitigated and under every built-in strategy."""
    seeded = {name: tuple(f"{name};seed={seed}" for seed in range(count)) for name, count in DRAWS.items()}
    plan = {"unmitigated": ("off",), "system": ("system;preset=neutral",), **seeded, "bare": ("bare",)}
    return [
        Arm(model, name, mitigations) for model in ("mini-base", "mini-finance") for name, mitigations in plan.items()
    ]


def _bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=Console(stderr=True))
