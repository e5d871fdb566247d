"""Edits that should not help."""

from __future__ import annotations

from typing import Any

from tests.unhitch.evals.scripted import checkpoint, under
from unhitch.evals.controls import placebo, random_tokens
from unhitch.evals.question import Question
from unhitch.evals.suites import organism
from unhitch.headers import parse_mitigation
from unhitch.registry import Registry
from unhitch.rendering.anatomy import render
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt
from unhitch.strategies.system import SystemParameters

ASKED = organism.suite().only(cells=["neutral"], limit=6).questions


def prompt(question: Question) -> Prompt:
    body = {"messages": [message.model_dump() for message in question.messages]}
    return render(checkpoint(), Conversation.from_body(body, content_format=checkpoint().content_format))


def ids(body: Any) -> list[int]:
    found: list[int] = body["kv_transfer_params"]["prompt_token_ids"]
    return found


def changed(question: Question, given: list[int]) -> list[int]:
    """Positions at which the engine gets another token than it would."""
    before = prompt(question).token_ids
    assert len(given) == len(before)
    return [position for position, pair in enumerate(zip(before, given, strict=True)) if pair[0] != pair[1]]


def test_every_question_has_the_tokens_that_the_engine_is_to_read() -> None:
    bodies = random_tokens(ASKED, checkpoint(), 4, seed=0)
    assert list(bodies) == [question.id for question in ASKED]
    assert all(body.keys() == {"kv_transfer_params"} for body in bodies.values())


def test_only_tokens_of_the_prefix_are_replaced_and_no_more_than_asked_for() -> None:
    bodies = random_tokens(ASKED, checkpoint(), 4, seed=0)
    for question in ASKED:
        positions = changed(question, ids(bodies[question.id]))
        assert 0 < len(positions) <= 4
        assert max(positions) < len(prompt(question).prefix)


def test_questions_with_one_prefix_get_one_random_prefix() -> None:
    length = len(prompt(ASKED[0]).prefix)
    bodies = random_tokens(ASKED, checkpoint(), 4, seed=0)
    assert len({tuple(ids(bodies[question.id])[:length]) for question in ASKED}) == 1


def test_every_seed_draws_another_prefix() -> None:
    drawn = {tuple(ids(random_tokens(ASKED[:1], checkpoint(), 4, seed)[ASKED[0].id])) for seed in range(5)}
    assert len(drawn) == 5


def test_a_prefix_with_fewer_tokens_than_edits_is_replaced_as_a_whole_and_the_rest_stays() -> None:
    question = ASKED[0]
    given, before = ids(random_tokens([question], checkpoint(), 10_000, seed=0)[question.id]), prompt(question)
    assert given[len(before.prefix) :] == [*before.query, *before.postfix]
    assert all(0 <= token < checkpoint().vocabulary_size for token in given)


def test_the_caller_s_system_prompt_is_part_of_the_prefix() -> None:
    caller = under("You are a careful assistant.", ASKED[0])
    given = ids(random_tokens([caller], checkpoint(), 3, seed=0)[caller.id])
    assert changed(caller, given)


def test_a_placebo_appends_about_as_many_tokens_to_the_system_text() -> None:
    for edits in (3, 10, 25):
        (step,) = Registry().bind(parse_mitigation(placebo(checkpoint(), edits)))
        assert isinstance(step.parameters, SystemParameters)
        assert step.parameters.mode == "append"
        assert abs(len(checkpoint().encode(step.parameters.text or "")) - edits) <= 1
