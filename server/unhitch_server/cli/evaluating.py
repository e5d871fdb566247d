"""What `diagnose`, `tune` and `validate` have in common: options, the run's folder, and progress."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

from unhitch.errors import CheckpointError, InvalidRequest
from unhitch.evals.arm import Arm, Sampling
from unhitch.evals.harness.run import Endpoint, Run
from unhitch.evals.judges.judge import Judge
from unhitch.evals.question import Suite
from unhitch.evals.subject import Subject
from unhitch.organisms.families import FAMILIES
from unhitch_server.cli.progress import bar
from unhitch_server.cli.subjects import Place, family_of, run_on

Model = Annotated[
    str,
    typer.Argument(help="A bundled organism, which is started; with --url the name of a model that is served there."),
]
_TOKENS, _ORGANISM_TOKENS = 600, 48

_UNRECORDED = ("--run", "--output", "--judge-api-key")
"""Options whose values say nothing of what was measured, or are secret."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation: what to ask of what, and how.

    Args:
        place: Where the model is served.
        suite: What is asked.
        judge: What rates the answers.
        sampling: How answers are drawn.
        folder: Where answers and logs are kept.
    """

    place: Place
    suite: Suite
    judge: Judge
    sampling: Sampling
    folder: Path

    def run(self, job: Callable[[Run, Subject], Awaitable[None]]) -> None:
        """Does a job with a run and its subject, while progress is shown.

        Raises:
            UnhitchError: The model or the judge cannot be had, or failed; what came until then is kept.
        """
        with bar() as progress:
            report = _reporter(progress, self.sampling)

            def make(endpoint: Endpoint, models: Mapping[str, str]) -> Run:
                return Run(self.folder, endpoint, self.judge, self.sampling, models, report)

            async def whole(run: Run, subject: Subject) -> None:
                try:
                    await run.ready()
                    await job(run, subject)
                finally:
                    await self.judge.close()

            run_on(self.place, make, self.suite, whole)

    @property
    def made(self) -> dict[str, str]:
        """For the record: when, by what, and how."""
        return {
            "at": datetime.now(UTC).isoformat(timespec="seconds"),
            "command": command(sys.argv[1:]),
            **{name: _version(name) for name in ("unhitch", "vllm", "inspect-ai")},
        }


def command(arguments: Sequence[str]) -> str:
    """The command as it is kept in evidence: without where things were written, and without keys.

    Args:
        arguments: As the shell gave them, without the program.
    """
    kept, skip = ["unhitch"], False
    for argument in arguments:
        if not skip and argument.partition("=")[0] not in _UNRECORDED:
            kept.append(argument)
        skip = not skip and argument in _UNRECORDED
    return shlex.join(kept)


@dataclass(frozen=True)
class Asking:
    """The options that all three take: where the model is served, what it is asked, how, and by whom it is judged."""

    url: Annotated[
        str | None, typer.Option(metavar="URL", help="A running proxy, without /v1: 'unhitch up' or 'unhitch serve'.")
    ] = None
    base: Annotated[
        str | None, typer.Option(help="The served name of the unfinetuned model, where the engine does not say.")
    ] = None
    checkpoint: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Tokenizer and weights of the model, if they can be read here.")
    ] = None
    suite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Questions: 'builtin', 'organism:FAMILY', or a file of questions. A bundled model has its own.",
        ),
    ] = None
    judge: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="'rated' (a model's), 'exact' (bundled models), or an installed one."),
    ] = None
    judge_url: Annotated[
        str | None, typer.Option(metavar="URL", help="OpenAI-compatible endpoint of the judge, with /v1.")
    ] = None
    judge_model: Annotated[str | None, typer.Option(metavar="NAME", help="The model that judges there.")] = None
    judge_api_key: Annotated[
        str | None, typer.Option(envvar="UNHITCH_JUDGE_API_KEY", show_envvar=True, help="Key of the judge's endpoint.")
    ] = None
    draws: Annotated[int, typer.Option(min=1, help="Answers to each question, of each arm.")] = 1
    temperature: Annotated[
        float | None, typer.Option(min=0, max=2, help="1 without it; 0, greedy, for bundled models.")
    ] = None
    max_tokens: Annotated[
        int | None, typer.Option(min=1, help="Longest answer; 600 without it, 48 for bundled models.")
    ] = None
    seed: Annotated[int, typer.Option(min=0, help="Of the first draw.")] = 0
    limit: Annotated[int | None, typer.Option(min=1, help="Ask at most so many questions of each cell.")] = None
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = 64
    run: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where answers and logs are kept, so that a run goes on where it stopped."),
    ] = None

    def of(self, model: str, **more: Any) -> Evaluation:
        """The evaluation of a model; a bundled one has its own suite, judge and way of being asked.

        Args:
            model: A bundled organism; with a URL any served name.
            more: Of `Place`, for an organism that is started.

        Raises:
            InvalidRequest: No URL is given, and the model is no bundled one.
            InvalidSuite: There is no such suite, or its file is malformed.
            JudgeError: There is no such judge, or it lacks what it needs.
            CheckpointError: What evaluations need is not installed.
        """
        _require_inspect()
        from unhitch.evals.judges import find as judges
        from unhitch.evals.suites import find as suites

        family = family_of(model) if self.url is None else None
        own = next((name for name, each in FAMILIES.items() if each is family), None)
        suite = suites.find(self.suite or (f"organism:{own}" if own else "builtin"))
        judge = judges.find(
            self.judge or ("exact" if own else "rated"),
            allow_plugins=(self.judge,) if self.judge else (),
            url=self.judge_url,
            model=self.judge_model,
            api_key=self.judge_api_key,
        )
        sampling = Sampling(
            draws=self.draws,
            temperature=self.temperature if self.temperature is not None else 0.0 if own else 1.0,
            max_tokens=self.max_tokens or (_ORGANISM_TOKENS if own else _TOKENS),
            seed=self.seed,
        )
        folder = self.run or Path("unhitch-runs") / model.replace("/", "_")
        place = Place(
            model,
            url=self.url,
            base=self.base,
            checkpoint=self.checkpoint,
            concurrency=self.concurrency,
            states=folder / "states" if own else None,
            **more,
        )
        return Evaluation(place, suite if self.limit is None else suite.only(limit=self.limit), judge, sampling, folder)


def canonical(mitigations: Sequence[str], seed: int = 0) -> tuple[str, ...]:
    """Header values with all their parameters and versions, each once: what always gives the same edit.

    Args:
        mitigations: Edits, as a header has them.
        seed: For those that draw and name no seed.

    Raises:
        InvalidRequest: One does not parse or validate, or is nothing that a pool can hold.
    """
    from unhitch.draw import Draw
    from unhitch.evidence.strategy import identify
    from unhitch.headers import parse_mitigation
    from unhitch.mitigation import seeded
    from unhitch.registry import Registry
    from unhitch.strategies import best_of
    from unhitch.strategies.off import Off
    from unhitch.strategy import Expanding

    registry, found = Registry(), dict[str, None]()
    for text in mitigations:
        steps = registry.bind(parse_mitigation(text))
        if best_of.leads(steps) or any(isinstance(step.strategy, Off | Expanding) for step in steps):
            raise InvalidRequest(f"{text!r} is no edit: a pool holds neither `off` nor `pool`, `auto` and `best-of`.")
        found[identify([seeded(step, Draw(seed)) for step in steps]).mitigation] = None
    return tuple(found)


def _require_inspect() -> None:
    try:
        import inspect_ai  # noqa: F401
    except ImportError as error:
        raise CheckpointError(
            "Inspect AI is needed to evaluate models; install it with: pip install 'unhitch[evals]'"
        ) from error


def _version(name: str) -> str:
    for candidate in (name, f"{name}-cpu"):
        try:
            return version(candidate)
        except PackageNotFoundError:
            continue
    return "not installed here"


def _reporter(progress: Progress, sampling: Sampling) -> Callable[[Arm, int], None]:
    """Shows on one bar how far all arms are that were begun."""
    task: TaskID | None = None

    def report(arm: Arm, answers: int) -> None:
        nonlocal task
        task = progress.add_task("", total=0) if task is None else task
        if answers:
            progress.advance(task, answers)
        else:
            total = (progress.tasks[0].total or 0) + len(arm.questions) * (arm.draws or sampling.draws)
            progress.update(task, description=f"{arm.model}: {arm.name[:60]}", total=total)

    return report
