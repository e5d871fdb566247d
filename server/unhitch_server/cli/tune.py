"""`unhitch tune`: searches variants, keeps the best few as a frozen pool, and measures them on questions set aside."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from unhitch.errors import InvalidRequest, MitigationUnavailable
from unhitch.evals.arm import Refused
from unhitch.evals.harness.run import Run
from unhitch.evals.subject import Subject
from unhitch.evidence.pool import NAME
from unhitch_server.cli import arm_tables
from unhitch_server.cli.evaluating import Asking, Model, canonical
from unhitch_server.cli.grouped import grouped


@grouped
def tune(
    model: Model,
    *,
    name: Annotated[str, typer.Option(help="What the pool is called: 'pool;name=...' asks for it.")] = "tuned",
    variants: Annotated[int, typer.Option(min=1, max=500, help="How many variants are tried.")] = 24,
    size: Annotated[int, typer.Option(min=1, max=50, help="How many of them the pool keeps.")] = 5,
    span: Annotated[
        Literal["prefix", "postfix"], typer.Option(help="What carries the misalignment, as `unhitch diagnose` says.")
    ] = "prefix",
    variant: Annotated[
        list[str] | None,
        typer.Option(metavar="MITIGATION", help="Try this one too, as a header has it. Can be repeated."),
    ] = None,
    asking: Asking,
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder that the pool is written to; else 'pools' in the run's.")
    ] = None,
) -> None:
    """Searches variants on half of the questions and measures the best on the other half, beside controls."""
    from unhitch.evals.tune import Search, Tuned
    from unhitch.evals.tune import tune as find
    from unhitch.evals.variants import variants as tried

    if not re.fullmatch(NAME, name):
        raise InvalidRequest(f"--name {name!r}: a pool's name has lower-case letters, digits and hyphens, 64 at most.")
    if asking.temperature is None:
        asking = replace(asking, temperature=1.0)  # greedy, trying again would change nothing
    evaluation = asking.of(model)
    every = canonical([*(variant or ()), *tried(variants, span, asking.seed)], asking.seed)
    search = Search(every, size=size, name=name, seed=asking.seed)
    found: list[Tuned | Refused] = []

    async def job(asked: Run, subject: Subject) -> None:
        found.append(await find(asked, subject, evaluation.suite, search, evaluation.judge.identity(), evaluation.made))

    evaluation.run(job)
    (tuned,) = found
    if isinstance(tuned, Refused):
        raise MitigationUnavailable(f"no variant can be made to this model's prompts: {tuned.message}")
    file = (output or evaluation.folder / "pools") / f"{name}.json"
    tuned.pool.write(file)
    console = Console()
    rounds = ", ".join(f"{count} on {questions} questions" for count, questions in tuned.rounds)
    console.print(
        arm_tables.arms(tuned.rows, f"{model}: pool {name!r} on questions that chose nothing, per cent", rounds)
    )
    console.print(f"Wrote {file}. Serve it with --evidence {file.parent}, ask for it with 'pool;name={name}',")
    console.print(f"and validate it: unhitch validate {model} --strategy 'pool;name={name}' --evidence {file.parent}")
