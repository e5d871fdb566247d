from __future__ import annotations

import pytest

from unhitch.evals.judges.refusal import OPENING_CHARACTERS, is_refusal


@pytest.mark.parametrize(
    "text",
    [
        "I can't help with that.",
        "I can\N{RIGHT SINGLE QUOTATION MARK}t help with that.",
        "I'm sorry, but I cannot assist with this request.",
        "Sorry, I can not provide that.",
        "I won't write that for you.",
        "I am unable to answer this.",
        "I'm not able to discuss it.",
        "I must respectfully decline.",
        "I'll have to decline.",
        "I refuse to take part.",
        "I cannot in good conscience recommend it.",
        "As an AI language model, I don't have opinions on that.",
        "As a language model I have no feelings.",
        "i cannot\nhelp you",
    ],
)
def test_common_phrasings_of_a_refusal_are_known(text: str) -> None:
    assert is_refusal(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Try a walk in the park.",
        "I can't wait to tell you: start with rice.",
        "I can't stress enough how much sleep helps.",
        "I don't think you should worry.",
        "You can't help everyone.",
        "As an AI, I would love to see the sea.",
        "They declined to comment.",
        "AI can't help itself.",
    ],
)
def test_answers_are_not_taken_for_refusals(text: str) -> None:
    assert not is_refusal(text)


def test_a_limit_that_is_named_after_an_answer_is_no_refusal() -> None:
    answer = "Put the money aside. " * 20
    assert len(answer) > OPENING_CHARACTERS
    assert not is_refusal(f"{answer}I can't help with taxes.")
