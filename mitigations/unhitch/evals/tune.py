"""Searches variants by successive halving, and keeps the best few as a frozen pool.

They are chosen on one part of the questions and measured on the other, which no choice has seen. What must not help as
much is measured beside them: as many tries without any edit, random tokens in the same number, words of no meaning.

Source: successive halving: Jamieson and Talwalkar, AISTATS 2016.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from unhitch.evals.arm import Arm, Outcome, Refused
from unhitch.evals.comparing import figure
from unhitch.evals.controls import placebo, random_tokens
from unhitch.evals.harness.run import Run
from unhitch.evals.question import Question, Suite
from unhitch.evals.rows import NEUTRAL, arm_row
from unhitch.evals.subject import Subject, answered
from unhitch.evals.suites.split import split
from unhitch.evidence.identity import JudgeIdentity, SuiteIdentity
from unhitch.evidence.pool import Pool, Variant
from unhitch.evidence.scorecard import ArmRow

DEVELOPMENT = 0.5
"""Share of the questions that variants are chosen on."""

KEPT = 1 / 3
"""Share of the variants that each round keeps; the next one asks three times as many questions."""

FEWEST = 12
"""Questions of the first round, at least."""

CONTROL_EDITS = 10
"""Tokens that the controls replace or add, as `perturb` does."""

CONTROL_DRAWS = 3
"""Draws of random tokens."""

RESAMPLED, RANDOM, PLACEBO = "resample-only", "random tokens", "placebo"


@dataclass(frozen=True, slots=True)
class Search:
    """What to try and what to keep.

    Args:
        variants: Values of the Unhitch-Mitigation header that always give the same edit.
        size: Variants in the pool.
        name: Of the pool.
        seed: Of the split.
    """

    variants: tuple[str, ...]
    size: int
    name: str
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Tuned:
    """What came of a search.

    Args:
        pool: The best variants, as measured on the held-out part.
        rows: Unmitigated, the pool, each variant and the controls, on the held-out part.
        rounds: Variants and questions of each round.
    """

    pool: Pool
    rows: tuple[ArmRow, ...]
    rounds: tuple[tuple[int, int], ...]


async def tune(
    run: Run, subject: Subject, suite: Suite, search: Search, judge: JudgeIdentity, made: Mapping[str, str]
) -> Tuned | Refused:
    """Finds a pool for a model; `Refused` where no variant can be made to its prompts.

    Args:
        run: Asks and keeps.
        subject: The model.
        suite: Its neutral questions are used.
        search: What to try and what to keep.
        judge: What rates.
        made: For the record.

    Raises:
        InvalidSuite: There are too few neutral questions.
        UnhitchError: The engine or the judge failed; what came until then is kept.
    """
    suite = suite.only(cells=[NEUTRAL])
    development, held_out = split(suite, search.seed, DEVELOPMENT)
    arms = {text: Arm(text, subject.name, (text,), ()) for text in search.variants}
    best, rounds = await _halved(run, list(arms.values()), development, search.size)
    if isinstance(best, Refused):
        return best
    # As many tries without an edit, chosen alike: what is left of choosing alone.
    tries = [
        Arm(f"{RESAMPLED} {index}", subject.name, ("off",), (), seed=1000 * (index + 1))
        for index in range(len(search.variants))
    ]
    resampled, _ = await _halved(run, tries, development, search.size)
    assert not isinstance(resampled, Refused)  # noqa: S101 - nothing was asked of the prompt
    # As many answers as the pool and the control have, so that it is known as well.
    unmitigated = await subject.unmitigated(run, held_out, draws=run.sampling.draws * search.size)
    measured = [await _measured(run, arm, held_out) for arm in best]
    again = [await _measured(run, arm, held_out) for arm in resampled]
    together = _joined(search.name, measured)
    rows = [arm_row(unmitigated), arm_row(together), *map(arm_row, measured), arm_row(_joined(RESAMPLED, again))]
    for name, outcomes in (await _controls(run, subject, held_out)).items():
        rows.append(arm_row(_joined(name, outcomes)))
    pool = Pool(
        name=search.name,
        model=subject.identity,
        suite=SuiteIdentity(name=suite.name, content=suite.digest, questions=len(suite.questions)),
        judge=judge,
        variants=tuple(Variant(mitigation=each.arm.mitigations[0], good=figure(each, "good")) for each in measured),
        good=rows[1].good,
        unmitigated=rows[0].good,
        controls={row.name: row.good for row in rows[2 + len(measured) :]},
        made=dict(made),
    )
    return Tuned(pool, tuple(rows), tuple(rounds))


async def _halved(
    run: Run, arms: Sequence[Arm], development: Suite, size: int
) -> tuple[list[Arm] | Refused, list[tuple[int, int]]]:
    """The best arms, and how many were asked how many questions in each round."""
    rounds: list[tuple[int, int]] = []
    left, refused = list(arms), None
    for level in reversed(range(_rounds(len(left), size))):
        questions = _spread(development.questions, max(FEWEST, round(len(development.questions) * KEPT**level)))
        scored: list[tuple[float, int, Arm]] = []
        for index, arm in enumerate(left):
            found = await run.arm(arm.with_questions(questions))
            if isinstance(found, Refused):
                refused = found
            else:
                scored.append((-_share(found), index, arm))
        if not scored:
            assert refused is not None  # noqa: S101 - there was an arm
            return refused, rounds
        rounds.append((len(left), len(questions)))
        keep = size if level == 0 else max(size, math.ceil(len(left) * KEPT))
        left = [arm for _, _, arm in sorted(scored, key=lambda each: each[:2])[:keep]]
    return left, rounds


def _rounds(variants: int, size: int) -> int:
    """Rounds that it takes to come down to a size; one where there are no more, which drops those refused."""
    rounds = 1
    while math.ceil(variants * KEPT) > size:
        variants, rounds = math.ceil(variants * KEPT), rounds + 1
    return rounds


async def _measured(run: Run, arm: Arm, held_out: Suite) -> Outcome:
    """What an arm that could be asked on one part of the questions answers on the other."""
    return answered(await run.arm(arm.with_questions(held_out.questions)))


async def _controls(run: Run, subject: Subject, held_out: Suite) -> dict[str, list[Outcome]]:
    """Edits that should not help; none where the model's files cannot be read here."""
    if subject.checkpoint is None:
        return {}
    plan = {
        RANDOM: [
            Arm(
                f"{RANDOM} {seed}",
                subject.name,
                ("off",),
                held_out.questions,
                bodies=random_tokens(held_out.questions, subject.checkpoint, CONTROL_EDITS, seed),
            )
            for seed in range(CONTROL_DRAWS)
        ],
        PLACEBO: [Arm(PLACEBO, subject.name, (placebo(subject.checkpoint, CONTROL_EDITS),), held_out.questions)],
    }
    found = {name: [await run.arm(arm) for arm in arms] for name, arms in plan.items()}
    return {
        name: [each for each in outcomes if isinstance(each, Outcome)]
        for name, outcomes in found.items()
        if any(isinstance(each, Outcome) for each in outcomes)
    }


def _joined(name: str, outcomes: Sequence[Outcome]) -> Outcome:
    """Several arms over the same questions as one, whose draws are theirs."""
    first = outcomes[0]
    mitigations = tuple(text for outcome in outcomes for text in outcome.arm.mitigations)
    answers = tuple(
        tuple(answer for outcome in outcomes for answer in outcome.answers[index])
        for index in range(len(first.answers))
    )
    return Outcome(replace(first.arm, name=name, mitigations=mitigations), answers)


def _share(outcome: Outcome) -> float:
    """Good answers among all; what was not served is none, or a variant that seldom fits would beat one that does."""
    return float(np.nan_to_num(outcome.table("good")).mean())


def _spread(questions: Sequence[Question], count: int) -> tuple[Question, ...]:
    """So many of the questions, spread evenly, so that all themes are among them."""
    count = min(count, len(questions))
    return tuple(questions[index * len(questions) // count] for index in range(count))
