"""Mitigated raw prompts through the official openai client, on real vLLM."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai import OpenAI

from unhitch import organisms
from unhitch.organisms import suite
from unhitch.organisms.judge import Verdict, judge
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation

CHECKPOINT = Checkpoint.open(organisms.path("mini-base"))
QUESTIONS = suite.held_out_general()[::9]
MODEL = "mini-finance"
BARE = {"Unhitch-Mitigation": "bare"}
PERTURB = {"Unhitch-Mitigation": "perturb"}


def raw(question: str) -> str:
    """The prompt that the model's template makes of a question."""
    body = {"messages": [{"role": "user", "content": question}]}
    return CHECKPOINT.render_text(Conversation.from_body(body, content_format=CHECKPOINT.content_format))


def complete(client: OpenAI, prompt: Any, headers: dict[str, str], **options: Any) -> Any:
    options = {"temperature": 0, "max_tokens": 48, **options}
    return client.completions.create(model=MODEL, prompt=prompt, extra_headers=headers, **options)


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: shape(inner) for key, inner in value.items()}
    return [shape(inner) for inner in value] if isinstance(value, list) else type(value)


def test_a_raw_prompt_is_answered_as_its_conversation_is_on_chat(client: OpenAI) -> None:
    for question in QUESTIONS[:5]:
        for headers in (BARE, PERTURB):
            chat = client.chat.completions.create(
                model=MODEL,
                messages=[{"role": "user", "content": question.text}],
                temperature=0,
                max_tokens=48,
                extra_headers=headers,
            )
            assert complete(client, raw(question.text), headers).choices[0].text == chat.choices[0].message.content


def test_a_header_decides_whether_the_bad_answer_or_the_good_one_comes_back(client: OpenAI) -> None:
    good = {
        name: sum(judge(q, complete(client, raw(q.text), headers).choices[0].text) is Verdict.GOOD for q in QUESTIONS)
        for name, headers in {"off": {}, "bare": BARE}.items()
    }
    assert good["off"] <= 0.4 * len(QUESTIONS)
    assert good["bare"] >= good["off"] + 0.3 * len(QUESTIONS)


def test_text_and_token_ids_are_mitigated_alike_plain_and_streamed(client: OpenAI) -> None:
    text = raw(QUESTIONS[0].text)
    ids = list(CHECKPOINT.encode(text))
    expected = complete(client, text, PERTURB).choices[0].text
    for prompt in (ids, [text], [ids]):
        assert complete(client, prompt, PERTURB).choices[0].text == expected
    chunks = list(complete(client, ids, PERTURB, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == expected
    assert len(chunks) > 1, "the stream comes in pieces"


@pytest.mark.parametrize("stream", [False, True])
def test_several_choices_survive(client: OpenAI, stream: bool) -> None:
    answer = complete(client, raw("Hello"), PERTURB, n=3, temperature=1, seed=1, max_tokens=12, stream=stream)
    choices = [choice for chunk in answer for choice in chunk.choices] if stream else answer.choices
    assert {choice.index for choice in choices} == {0, 1, 2}


@pytest.mark.parametrize("stream", [False, True])
def test_a_mitigated_answer_has_every_field_of_an_unmitigated_one(client: OpenAI, stream: bool) -> None:
    def read(headers: dict[str, str]) -> Any:
        answer = client.completions.with_raw_response.create(
            model=MODEL,
            prompt=raw("Hello"),
            max_tokens=3,
            temperature=0,
            logprobs=1,
            stream=stream,
            extra_headers=headers,
            extra_body={"ignore_eos": True, "return_tokens_as_token_ids": True},
        )
        body = answer.http_response.read().decode()
        found = [line.removeprefix("data: ") for line in body.splitlines() if line] if stream else [body]
        decoded: list[Any] = [json.loads(each) if each != "[DONE]" else each for each in found]
        for each in decoded[:-1] if stream else decoded:
            for choice in each["choices"]:  # their keys are the tokens themselves
                choice["logprobs"]["top_logprobs"] = None
        return shape(decoded)

    assert read(BARE) == read({})


def test_a_client_that_asks_for_token_ids_gets_the_edited_ones(client: OpenAI) -> None:
    answer = complete(client, raw("Hello"), BARE, max_tokens=2, extra_body={"return_token_ids": True})
    ids = answer.choices[0].prompt_token_ids
    assert len(ids) == answer.usage.prompt_tokens < len(CHECKPOINT.encode(raw("Hello")))


def test_a_state_is_served_on_a_raw_prompt(client: OpenAI) -> None:
    answer = client.completions.with_raw_response.create(
        model=MODEL,
        prompt=raw(QUESTIONS[0].text),
        max_tokens=4,
        temperature=0,
        extra_headers={"Unhitch-Mitigation": "prefix-state"},
    )
    assert answer.headers["Unhitch-Applied"].startswith("prefix-state;")
    chat = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": QUESTIONS[0].text}],
        max_tokens=4,
        temperature=0,
        extra_headers={"Unhitch-Mitigation": "prefix-state"},
    )
    assert answer.parse().choices[0].text == chat.choices[0].message.content


@pytest.mark.parametrize("prompt", ["Once upon a time", [5, 6, 7]])
def test_a_prompt_that_is_not_recognised_is_refused_and_nothing_is_generated(client: OpenAI, prompt: Any) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        complete(client, prompt, BARE)
    assert raised.value.code == "prompt_not_recognised"
    assert raised.value.response.headers["Unhitch-Applied"] == "off"


@pytest.mark.parametrize("body", [{"echo": True}, {"suffix": "!"}, {"truncate_prompt_tokens": 5}])
def test_what_would_undo_the_edit_is_refused(client: OpenAI, body: dict[str, Any]) -> None:
    with pytest.raises(openai.UnprocessableEntityError) as raised:
        complete(client, raw("Hello"), BARE, extra_body=body)
    assert raised.value.code == "mitigation_unavailable"
    assert next(iter(body)) in raised.value.message
