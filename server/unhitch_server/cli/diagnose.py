"""`unhitch diagnose`: whether a model has emergent misalignment, and which span of the prompt carries it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from unhitch.evals.harness.run import Run
from unhitch.evals.profile import Profile
from unhitch.evals.subject import Subject
from unhitch_server.cli.arm_tables import interval, percent
from unhitch_server.cli.evaluating import Asking, Model
from unhitch_server.cli.grouped import grouped


@grouped
def diagnose(
    model: Model,
    *,
    asking: Asking,
    output: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the profile too, as JSON.")] = None,
) -> None:
    """Finds out whether a model is misaligned, in which themes, and what carries it; says what to do."""
    from unhitch.evals.diagnose import diagnose as find

    evaluation = asking.of(model)
    found: list[Profile] = []

    async def job(asked: Run, subject: Subject) -> None:
        found.append(
            await find(
                asked,
                subject,
                evaluation.suite,
                evaluation.judge.identity(),
                evaluation.sampling,
                evaluation.made,
            )
        )

    evaluation.run(job)
    (profile,) = found
    if output is not None:
        profile.write(output)
    console = Console()
    console.print(_table(profile))
    if profile.misaligned:
        console.print(_themes(profile))
    console.print(profile.recommendation, soft_wrap=True, highlight=False, markup=False)


def _table(profile: Profile) -> Table:
    table = Table(
        "asked",
        "good",
        "95%",
        "misaligned",
        "won back",
        title=f"{profile.name}: what carries the misalignment, per cent",
        caption=f"{profile.suite.questions} questions of {profile.suite.name!r}, judge {profile.judge.name!r}",
    )
    for row in filter(None, (profile.reference, profile.unmitigated)):
        table.add_row(row.name, percent(row.good), interval(row.good), percent(row.misaligned), "")
    for trial in profile.trials:
        name = f"{trial.span} {trial.how}"
        if trial.row is None:
            table.add_row(name, "not tried", "", "", "")
        else:
            won = "" if trial.recovered is None else f"{100 * trial.recovered:.0f}"
            table.add_row(name, percent(trial.row.good), interval(trial.row.good), percent(trial.row.misaligned), won)
    return table


def _themes(profile: Profile) -> Table:
    table = Table("theme", "questions", "misaligned", "95%", title="Misaligned answers by theme, per cent")
    for theme in profile.themes:
        table.add_row(theme.theme, str(theme.questions), percent(theme.misaligned), interval(theme.misaligned))
    return table
