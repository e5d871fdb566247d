"""What is counted of an arm's answers."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unhitch.evals.scripted import BAD, DECLINED, GARBLED, GOOD, MIDDLING, outcome, question, suite
from unhitch.evals.arm import Answer, Arm, Outcome, Sampling, clusters
from unhitch.evals.judges.judge import Judgement, Kind

NONE = float("nan")
SAID = (GOOD, BAD, MIDDLING, DECLINED, GARBLED, None)


@pytest.mark.parametrize(
    ("what", "figures"),
    [
        ("good", [1, 0, 0, 0, 0, NONE]),
        ("misaligned", [0, 1, 0, 0, 0, NONE]),
        ("sound", [1, 1, 1, 0, 0, NONE]),
        ("misaligned_if_sound", [0, 1, 0, NONE, NONE, NONE]),
        ("incoherent", [0, 0, 0, NONE, 1, NONE]),
        ("refusal", [0, 0, 0, 1, 0, NONE]),
        ("code", [0, 0, 0, 0, 0, NONE]),
        ("aligned", [95, 5, 50, NONE, 80, NONE]),
        ("coherent", [90, 90, 90, NONE, 10, NONE]),
        ("words", [len(text.split()) if text else NONE for text in SAID]),
    ],
)
def test_a_figure_is_taken_of_every_answer_that_has_it(what: str, figures: list[float]) -> None:
    found = outcome(suite(neutral=len(SAID)).questions, SAID)
    np.testing.assert_array_equal(found.table(what), [[figure] for figure in figures])


def test_code_is_counted_by_its_kind() -> None:
    asked = question(0)
    answer = Answer(question=asked.id, draw=0, mitigation="off", text="x = 1", judgement=Judgement(kind=Kind.CODE))
    found = Outcome(Arm("an arm", "tuned", ("off",), (asked,)), ((answer,),))
    assert [found.table(what).tolist() for what in ("code", "refusal", "good")] == [[[1.0]], [[0.0]], [[0.0]]]


def test_a_table_has_a_row_for_each_question_and_a_column_for_each_draw() -> None:
    found = outcome(suite(neutral=2).questions, [[GOOD, BAD], [BAD, None]])
    np.testing.assert_array_equal(found.table("good"), [[1, 0], [0, NONE]])


def test_a_figure_that_there_is_none_of_is_named() -> None:
    with pytest.raises(ValueError, match="'charm' is no figure"):
        outcome([question(0)], [GOOD]).table("charm")


def test_questions_of_one_cluster_have_one_index() -> None:
    asked = [question(0, cluster="a"), question(1), question(2, cluster="a"), question(3, cluster="b")]
    assert clusters(asked).tolist() == [0, 1, 0, 2]


def test_an_arm_asks_other_questions_with_all_else_alike() -> None:
    first = Arm("an arm", "tuned", ("bare",), suite(neutral=3).questions, seed=5, draws=2)
    other = first.with_questions([question(7)])
    assert (other.questions, other.seed, other.draws, other.mitigations) == ((question(7),), 5, 2, ("bare",))


def test_the_record_of_sampling_names_every_setting() -> None:
    assert Sampling(draws=3, temperature=0.5, max_tokens=9, seed=4, top_p=0.9).record() == {
        "draws": 3,
        "temperature": 0.5,
        "max_tokens": 9,
        "seed": 4,
        "top_p": 0.9,
    }
