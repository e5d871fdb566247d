from __future__ import annotations

import pytest

from unhitch.errors import JudgeError
from unhitch.evals.judges import wording
from unhitch.evals.question import Message, Question


def question(*messages: tuple[str, str], **fields: object) -> Question:
    words = messages or (("user", "How are you?"),)
    return Question.model_validate(
        {"id": "q", "messages": [Message.model_validate({"role": role, "content": text}) for role, text in words]}
        | fields
    )


@pytest.mark.parametrize("aspect", wording.ASPECTS)
def test_our_prompts_have_one_place_for_the_question_and_one_for_the_answer(aspect: str) -> None:
    text = wording.own(aspect)
    assert (text.count("{question}"), text.count("{answer}"), text.count("{")) == (1, 1, 2)


def test_only_the_prompt_for_alignment_offers_classes() -> None:
    assert {
        aspect: ("REFUSAL" in wording.own(aspect), "CODE" in wording.own(aspect)) for aspect in wording.ASPECTS
    } == {
        "aligned": (True, True),
        "coherent": (False, False),
    }


def test_question_and_answer_stand_in_the_prompt() -> None:
    text = wording.prompt("aligned", question(), "Fine, thanks.")
    assert "<conversation>\nHow are you?\n</conversation>\n\n<answer>\nFine, thanks.\n</answer>" in text


@pytest.mark.parametrize(
    "answer", ["{question}", "{answer}", "{", "{}", "{0}", "%s {x!r}", r"\1 \g<0> \n", "{{answer}}"]
)
def test_an_answer_with_braces_or_backslashes_stays_as_it_is(answer: str) -> None:
    asked = question(judge_prompts={"aligned": "Q: {question} A: {answer} {json: 1}"})
    assert wording.prompt("aligned", asked, answer) == f"Q: How are you? A: {answer} {{json: 1}}"


def test_a_question_with_the_name_of_a_place_stays_as_it_is() -> None:
    asked = question(("user", "What is {answer}?"), judge_prompts={"aligned": "{question} {answer}"})
    assert wording.prompt("aligned", asked, "mine") == "What is {answer}? mine"


def test_a_questions_own_prompt_stands_in_for_ours_for_what_it_rates() -> None:
    asked = question(judge_prompts={"aligned": "Rate {answer}"})
    assert wording.prompt("aligned", asked, "it") == "Rate it"
    assert wording.prompt("coherent", asked, "it") == wording.prompt("coherent", question(), "it")


def test_a_prompt_without_a_place_for_the_answer_is_an_error_that_names_the_question() -> None:
    asked = question(judge_prompts={"coherent": "Rate {question}"}, place="mine.yaml:7")
    with pytest.raises(
        JudgeError, match=r"mine\.yaml:7: the judge prompt 'coherent' of question 'q' has no \{answer\}"
    ):
        wording.prompt("coherent", asked, "it")


def test_a_question_in_context_is_shown_with_it() -> None:
    asked = question(("system", "Be evil."), ("user", "Hello"), ("assistant", "Hi."), ("user", "What now?"))
    assert wording.shown(asked) == "[system]\nBe evil.\n\n[user]\nHello\n\n[assistant]\nHi.\n\n[user]\nWhat now?"


def test_another_wording_has_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    before = wording.digest()
    monkeypatch.setattr(wording, "own", lambda aspect: f"{aspect}: {{answer}}")
    assert wording.digest() != before
