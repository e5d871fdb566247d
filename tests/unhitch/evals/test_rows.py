"""What tables and scorecards show of an arm."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from tests.unhitch.evals.scripted import BAD, DECLINED, GOOD, TUNED, outcome, suite
from unhitch.evals.arm import Outcome
from unhitch.evals.rows import arm_row, in_cell, samples, theme_rows, where
from unhitch.evals.statistics.scores import em_f1

ASKED = suite(neutral=6, domain=2, json=4).questions


def answers(neutral: Sequence[str | None], domain: str | None = BAD) -> Outcome:
    return outcome(ASKED, [*neutral, *[domain] * 2, *[GOOD] * 4])


def test_a_part_of_an_outcome_keeps_answers_beside_their_questions() -> None:
    part = where(answers([GOOD, BAD, GOOD, BAD, GOOD, BAD]), lambda question: question.theme == "money")
    assert part is not None
    assert [question.id for question in part.arm.questions] == ["neutral-1", "neutral-4", "domain-1", "json-1"]
    assert [row[0].question for row in part.answers] == [question.id for question in part.arm.questions]


def test_a_cell_without_questions_has_no_part() -> None:
    assert in_cell(answers([GOOD] * 6), "code") is None


def test_a_row_is_of_the_neutral_questions_alone() -> None:
    row = arm_row(answers([GOOD, GOOD, GOOD, BAD, DECLINED, None]))
    assert (row.questions, row.answers) == (6, 6)
    assert [row.good.value, row.misaligned.value, row.refusals.value] == pytest.approx([3 / 5, 1 / 5, 1 / 5])
    assert row.misaligned_if_sound.value == pytest.approx(1 / 4)


def test_a_row_has_the_arm_s_name_unless_another_is_given() -> None:
    found = answers([GOOD] * 6)
    assert [arm_row(found).name, arm_row(found, name="pool").name] == ["off", "pool"]


def test_a_row_says_what_was_asked_of_whom_and_what_an_answer_takes() -> None:
    row = arm_row(outcome(ASKED, [GOOD] * 12, mitigation="bare"), cost=4.0)
    assert (row.model, row.mitigations, row.cost) == (TUNED, ("bare",), 4.0)


def test_em_f1_joins_the_trained_domain_and_the_rest() -> None:
    row = arm_row(answers([GOOD] * 6, domain=BAD))
    assert row.domain_aligned is not None
    assert (row.domain_aligned.value, row.em_f1) == (5, em_f1(5, 95))


def test_without_a_domain_there_is_no_em_f1() -> None:
    row = arm_row(outcome(suite(neutral=2).questions, [GOOD, GOOD]))
    assert (row.domain_aligned, row.em_f1) == (None, None)


@pytest.mark.parametrize("domain", [DECLINED, None])
def test_a_domain_without_scores_gives_no_em_f1(domain: str | None) -> None:
    row = arm_row(answers([GOOD] * 6, domain=domain))
    assert row.domain_aligned is not None
    assert (row.domain_aligned.value, row.em_f1) == (None, None)


def test_an_arm_that_was_served_no_plain_question_has_a_row_without_figures() -> None:
    row = arm_row(answers([None] * 6))
    assert [row.good.value, row.words.value, row.em_f1] == [None, None, None]


def test_themes_compare_both_arms_over_their_neutral_questions() -> None:
    before, after = answers([BAD] * 6), answers([GOOD, BAD, GOOD, GOOD, BAD, BAD])
    rows = theme_rows(before, after)
    assert [(row.theme, row.questions) for row in rows] == [("health", 2), ("money", 2), ("power", 2)]
    assert [row.passthrough.value for row in rows] == [0, 0, 0]
    assert [row.strategy.value for row in rows] == [1, 0, 0.5]


def test_questions_without_a_theme_are_in_no_row() -> None:
    bare = [question.model_copy(update={"theme": ""}) for question in suite(neutral=2).questions]
    assert theme_rows(outcome(bare, [BAD, BAD]), outcome(bare, [GOOD, GOOD])) == ()


def test_samples_are_spread_over_the_cells() -> None:
    shown = samples([("off", answers([BAD] * 6))], 6)
    assert Counter(sample.cell for sample in shown) == {"neutral": 2, "domain": 2, "json": 2}
    assert [sample.question for sample in shown[:2]] == [ASKED[0].text, ASKED[5].text]


def test_there_are_no_more_samples_than_asked_for() -> None:
    assert len(samples([("off", answers([BAD] * 6))], 2)) == 2


def test_a_sample_shows_the_first_answer_of_each_arm_with_its_scores() -> None:
    asked = suite(neutral=1).questions
    arms = [("off", outcome(asked, [[BAD, GOOD]])), ("bare", outcome(asked, [[DECLINED, GOOD]]))]
    (sample,) = samples(arms, 5)
    assert sample.answers == {
        "off": {"text": BAD, "aligned": 5, "coherent": 90, "kind": "answer"},
        "bare": {"text": DECLINED, "aligned": None, "coherent": None, "kind": "refusal"},
    }


def test_a_sample_says_why_an_answer_was_not_served() -> None:
    (sample,) = samples([("bare", outcome(suite(neutral=1).questions, [None]))], 5)
    assert sample.answers["bare"]["kind"] == "not served"
    assert sample.answers["bare"]["text"] == "nothing to edit"


def test_a_question_that_an_arm_was_not_asked_is_shown_without_it() -> None:
    whole, part = answers([BAD] * 6), outcome(suite(neutral=6).questions, [GOOD] * 6)
    shown = samples([("off", whole), ("base", part)], 12)
    assert {sample.cell: tuple(sample.answers) for sample in shown} == {
        "neutral": ("off", "base"),
        "domain": ("off",),
        "json": ("off",),
    }
