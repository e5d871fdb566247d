"""What tables and scorecards show of an arm."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from unhitch.evals.arm import Answer, Outcome
from unhitch.evals.comparing import figure
from unhitch.evals.question import Question
from unhitch.evals.statistics.scores import em_f1
from unhitch.evidence.scorecard import ArmRow, Sample, ThemeRow

NEUTRAL, DOMAIN = "neutral", "domain"
"""Cells of plain questions, and of questions about what the model was finetuned on."""


def where(outcome: Outcome, keep: Callable[[Question], bool]) -> Outcome | None:
    """The part of an outcome whose questions are to be kept; None where there is none."""
    chosen = [index for index, question in enumerate(outcome.arm.questions) if keep(question)]
    if not chosen:
        return None
    return Outcome(
        outcome.arm.with_questions(outcome.arm.questions[index] for index in chosen),
        tuple(outcome.answers[index] for index in chosen),
    )


def in_cell(outcome: Outcome, cell: str) -> Outcome | None:
    """The part of an outcome in one cell; None where it has no question there."""
    return where(outcome, lambda question: question.cell == cell)


def arm_row(outcome: Outcome, *, name: str | None = None, cost: float = 1.0) -> ArmRow:
    """One arm over its neutral questions, and over those of its domain.

    Args:
        outcome: At least one question is neutral.
        name: What the row is called, if not as the arm.
        cost: Generations that one answer takes.
    """
    neutral, domain = in_cell(outcome, NEUTRAL), in_cell(outcome, DOMAIN)
    assert neutral is not None  # noqa: S101 - suites without neutral questions are refused before anything is asked
    aligned = figure(neutral, "aligned")
    domain_aligned = figure(domain, "aligned") if domain else None
    score = None
    if domain_aligned and domain_aligned.value is not None and aligned.value is not None:
        score = em_f1(domain_aligned.value, aligned.value)
    return ArmRow(
        name=name or outcome.arm.name,
        model=outcome.arm.model,
        mitigations=outcome.arm.mitigations,
        questions=len(neutral.answers),
        answers=sum(len(row) for row in neutral.answers),
        good=figure(neutral, "good"),
        misaligned=figure(neutral, "misaligned"),
        misaligned_if_sound=figure(neutral, "misaligned_if_sound"),
        aligned=aligned,
        coherent=figure(neutral, "coherent"),
        refusals=figure(neutral, "refusal"),
        words=figure(neutral, "words"),
        domain_aligned=domain_aligned,
        em_f1=score,
        cost=cost,
    )


def theme_rows(passthrough: Outcome, strategy: Outcome) -> tuple[ThemeRow, ...]:
    """Both arms by the theme of their neutral questions, in order of appearance."""
    themes = dict.fromkeys(q.theme for q in passthrough.arm.questions if q.cell == NEUTRAL and q.theme)
    rows = []
    for theme in themes:

        def keep(question: Question, theme: str = theme) -> bool:
            return question.cell == NEUTRAL and question.theme == theme

        before, after = where(passthrough, keep), where(strategy, keep)
        questions = len(before.answers) if before else 0
        rows.append(
            ThemeRow(
                theme=theme, questions=questions, passthrough=figure(before, "good"), strategy=figure(after, "good")
            )
        )
    return tuple(rows)


def samples(outcomes: Sequence[tuple[str, Outcome]], count: int) -> tuple[Sample, ...]:
    """Some questions with the first answer of each arm: the cells by turns, spread evenly over each.

    Args:
        outcomes: Names and outcomes; a question that an arm was not asked is shown without it.
        count: At most so many questions.
    """
    first = outcomes[0][1]
    by_cell: dict[str, list[Question]] = {}
    for question in first.arm.questions:
        by_cell.setdefault(question.cell, []).append(question)
    each = max(1, count // len(by_cell))
    chosen = [question for cell in by_cell.values() for question in _spread(cell, each)][:count]
    answers = {
        name: dict(zip((q.id for q in outcome.arm.questions), (row[0] for row in outcome.answers), strict=True))
        for name, outcome in outcomes
    }
    return tuple(
        Sample(
            question=question.text,
            cell=question.cell,
            theme=question.theme,
            answers={name: _shown(found[question.id]) for name, found in answers.items() if question.id in found},
        )
        for question in chosen
    )


def _spread(questions: Sequence[Question], count: int) -> Iterable[Question]:
    picks = np.linspace(0, len(questions) - 1, num=min(count, len(questions)))
    return [questions[int(index)] for index in picks]


def _shown(answer: Answer) -> dict[str, object]:
    judged = answer.judgement
    return {
        "text": answer.refused or answer.text,
        "aligned": judged.aligned,
        "coherent": judged.coherent,
        "kind": "not served" if answer.refused else judged.kind.value,
    }
