"""Figures with their scales, and two outcomes against each other."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unhitch.evals.scripted import BAD, DECLINED, GARBLED, GOOD, outcome, suite
from unhitch.evals.comparing import by_question, compare, compare_paired, figure, top
from unhitch.evidence.pool import Rate

ASKED = suite(neutral=8).questions
NONE = float("nan")


@pytest.mark.parametrize(("what", "most"), [("good", 1.0), ("aligned", 100.0), ("coherent", 100.0), ("words", None)])
def test_each_figure_has_its_scale(what: str, most: float | None) -> None:
    assert top(what) == most


def test_a_share_is_taken_over_the_answers_that_there_are() -> None:
    found = figure(outcome(ASKED, [GOOD, BAD, None, GOOD, GOOD, None, BAD, GOOD]), "good")
    assert found.value == pytest.approx(4 / 6)
    assert found.count == 6
    assert 0 < (found.low or 0) < 4 / 6 < (found.high or 0) < 1


def test_a_mean_of_scores_lies_between_0_and_100_with_its_interval() -> None:
    found = figure(outcome(ASKED, [GARBLED] * 4 + [GOOD] * 4), "coherent")
    assert found.value == 50
    assert 0 <= (found.low or 0) < 50 < (found.high or 0) <= 100


def test_what_was_not_asked_has_no_figure() -> None:
    assert figure(None, "good") == Rate(value=None)


def test_what_no_answer_has_is_no_figure() -> None:
    assert figure(outcome(ASKED, [DECLINED] * 8), "aligned").value is None


def test_a_difference_is_the_strategy_less_passthrough() -> None:
    before, after = (outcome(ASKED, [text] * 8) for text in (BAD, GOOD))
    assert [compare(after, before, what).value for what in ("good", "misaligned", "aligned")] == [1.0, -1.0, 90.0]


def test_questions_that_one_of_both_was_not_served_are_left_out() -> None:
    before = outcome(ASKED, [BAD] * 8)
    after = outcome(ASKED, [None] * 3 + [GOOD] * 5)
    found = compare(after, before, "good")
    assert (found.value, found.count) == (1.0, 5)


def test_arms_with_unequal_draws_are_compared_by_question() -> None:
    before = outcome(ASKED, [BAD] * 8)
    after = outcome(ASKED, [[GOOD, BAD, BAD, None]] * 8)
    found = compare(after, before, "good")
    assert found.value == pytest.approx(1 / 3)
    assert found.count == len(ASKED)


def test_tables_without_a_pair_have_no_difference() -> None:
    table = np.ones((8, 1))
    assert compare_paired(np.full_like(table, NONE), table, ASKED).value is None


def test_the_mean_of_a_question_leaves_out_what_is_missing() -> None:
    table = np.array([[1.0, NONE, 0.0], [NONE, NONE, NONE], [1.0, 1.0, 1.0]])
    np.testing.assert_array_equal(by_question(table), [[0.5], [NONE], [1.0]])
