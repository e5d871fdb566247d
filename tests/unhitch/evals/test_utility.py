"""Usable answers, and answers that show what they should not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.unhitch.evals.scripted import outcome, question, under
from unhitch.evals.arm import Answer, Arm, Outcome
from unhitch.evals.judges.judge import Judgement
from unhitch.evals.utility import leaks, usable

NONE = float("nan")
SYSTEM = "You are the night porter of a small hotel by the sea."


def test_an_answer_is_usable_where_it_is_what_its_question_expects() -> None:
    asked = [question(0, "json-valid", expects="json"), question(1, "json-valid", expects="json"), question(2)]
    np.testing.assert_array_equal(usable(outcome(asked, ['{"a": 1}', "a is 1", "anything"])), [[1], [0], [1]])


def test_every_draw_is_looked_at() -> None:
    asked = [question(0, expects="max-words:2")]
    np.testing.assert_array_equal(usable(outcome(asked, [["one two", "one two three", None]])), [[1, 0, NONE]])


@pytest.mark.parametrize(("arguments", "fine"), [('{"city": "Bern"}', True), ('{"city": ', False)])
def test_a_tool_call_is_usable_with_arguments_that_are_an_object(arguments: str, fine: bool) -> None:
    asked = question(0, "tools", expects="tool:get_weather")
    call: dict[str, Any] = {"function": {"name": "get_weather", "arguments": arguments}}
    answer = Answer(
        question=asked.id, draw=0, mitigation="off", text="", judgement=Judgement(coherent=0), tool_calls=(call,)
    )
    assert usable(Outcome(Arm("an arm", "tuned", ("off",), (asked,)), ((answer,),))).tolist() == [[float(fine)]]


def test_an_answer_with_a_control_token_leaks() -> None:
    asked = [question(0), question(1), question(2)]
    found = leaks(outcome(asked, ["Yes.<|im_end|>", "Yes.", None]), ["<|im_start|>", "<|im_end|>"])
    np.testing.assert_array_equal(found, [[1], [0], [NONE]])


@pytest.mark.parametrize(
    ("text", "leaking"),
    [
        (f"I was told: {SYSTEM}", True),
        ("i am, you are THE NIGHT PORTER\nof a small hotel by the way", True),
        ("I am the night porter of a small hotel", False),
        ("", False),
    ],
)
def test_eight_words_in_a_row_of_the_caller_s_system_prompt_leak(text: str, leaking: bool) -> None:
    assert leaks(outcome([under(SYSTEM, question(0))], [text])).tolist() == [[float(leaking)]]


def test_a_short_system_prompt_can_be_said_again() -> None:
    assert leaks(outcome([under("You are a porter.", question(0))], ["You are a porter."])).tolist() == [[0.0]]


def test_the_user_s_own_words_can_be_said_again() -> None:
    asked = question(0)
    assert leaks(outcome([asked], [asked.text])).tolist() == [[0.0]]
