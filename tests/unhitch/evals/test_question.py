"""Questions and suites of them."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.unhitch.evals.scripted import question, suite
from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message, Question, Suite


def test_the_user_s_last_words_are_what_is_asked() -> None:
    messages = (
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hi."),
        Message(role="user", content="What now?"),
    )
    assert Question(id="q", messages=messages).text == "What now?"


def test_a_question_without_a_cluster_is_its_own() -> None:
    assert [question(1).group, question(1, cluster="c").group] == ["neutral-1", "c"]


def test_an_empty_suite_is_refused() -> None:
    with pytest.raises(InvalidSuite, match="'mine' has no questions"):
        Suite(name="mine", questions=())


def test_two_questions_with_one_id_are_named_with_their_places() -> None:
    twice = (question(0, place="a.yaml:3"), question(0, place="a.yaml:9"))
    with pytest.raises(InvalidSuite, match=r"'neutral-0' \(a\.yaml:3, a\.yaml:9\)"):
        Suite(name="mine", questions=twice)


def test_a_question_that_ends_with_the_model_s_words_is_refused() -> None:
    answered = question(0, messages=(Message(role="assistant", content="Hi."),), place="a.yaml:3")
    with pytest.raises(InvalidSuite, match="a.yaml:3: question 'neutral-0' does not end with the user's words"):
        Suite(name="mine", questions=(answered,))


def test_a_suite_is_known_by_its_content_wherever_it_was_read() -> None:
    here, there = (Suite(name=place, questions=(question(0, place=place),)) for place in ("a:1", "b:2"))
    other = Suite(name="a:1", questions=(question(1),))
    assert here.digest == there.digest != other.digest


def test_the_order_of_questions_is_part_of_a_suite_s_digest() -> None:
    asked = suite(neutral=2)
    assert Suite(name="mine", questions=asked.questions[::-1]).digest != asked.digest


def test_some_cells_can_be_taken_in_the_order_of_the_suite() -> None:
    kept = suite(neutral=2, json=3, code=1).only(cells=["code", "json"])
    assert [each.id for each in kept.questions] == ["json-0", "json-1", "json-2", "code-0"]


def test_a_limit_holds_for_each_cell_and_spreads_over_it() -> None:
    kept = suite(neutral=9, json=2).only(limit=3)
    assert Counter(each.cell for each in kept.questions) == {"neutral": 3, "json": 2}
    assert [each.id for each in kept.questions][:3] == ["neutral-0", "neutral-3", "neutral-6"]


def test_a_choice_of_cells_that_leaves_nothing_is_refused() -> None:
    with pytest.raises(InvalidSuite, match="no questions"):
        suite(neutral=2).only(cells=["json"])
