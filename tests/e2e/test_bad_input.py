"""Each kind of bad input gets an OpenAI error object that says what was received and what to do."""

from typing import Any

import openai
import pytest
from openai import OpenAI

MESSAGES: list[Any] = [{"role": "user", "content": "Hello"}]


def refused(client: OpenAI, header: str, messages: list[Any] = MESSAGES, **options: Any) -> openai.APIStatusError:
    with pytest.raises(openai.APIStatusError) as raised:
        client.chat.completions.create(
            model=options.pop("model", "mini-finance"),
            messages=messages,
            max_tokens=2,
            extra_headers={"Unhitch-Mitigation": header},
            **options,
        )
    assert raised.value.response.headers["Unhitch-Applied"] == "off"
    return raised.value


def test_an_unknown_strategy_is_refused_with_near_names(client: OpenAI) -> None:
    error = refused(client, "pertrub;seed=1")
    assert (error.status_code, error.code) == (400, "unknown_strategy")
    assert "`perturb`" in error.message


@pytest.mark.parametrize(
    ("header", "named"),
    [
        ("perturb;edits=0", "from 1 to"),
        ("perturb;edits=ten", "edits"),
        ("perturb;metric=euclid", "cosine"),
        ("perturb;edit=3", "`edits`"),
        ("perturb;seed=-1", "seed"),
        ("system", "text"),
        ("bare, off", "off"),
    ],
)
def test_a_bad_parameter_is_refused_with_what_is_allowed(client: OpenAI, header: str, named: str) -> None:
    error = refused(client, header)
    assert (error.status_code, error.code) == (400, "invalid_parameter")
    assert named in error.message


@pytest.mark.parametrize("header", ["perturb;", "perturb;;seed=1", ",", "(perturb)", "perturb seed=1", '"open', ""])
def test_a_malformed_header_is_refused_with_the_position(client: OpenAI, header: str) -> None:
    error = refused(client, header)
    assert (error.status_code, error.code) == (400, "invalid_header")
    assert "character" in error.message or "no value" in error.message


def test_an_unknown_model_is_refused_with_the_names_that_are_served(client: OpenAI) -> None:
    error = refused(client, "bare", model="gpt-9")
    assert (error.status_code, error.code) == (404, "model_not_found")
    assert "mini-finance" in error.message


def test_media_are_refused_since_their_token_ids_would_be_ignored(client: OpenAI) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    error = refused(client, "bare", [{"role": "user", "content": [{"type": "text", "text": "What is this?"}, image]}])
    assert (error.status_code, error.code) == (422, "mitigation_unavailable")
    assert "messages[0]" in error.message


def test_bare_on_a_callers_own_system_message_is_refused_with_what_to_do(client: OpenAI) -> None:
    error = refused(client, "bare", [{"role": "system", "content": "Be kind."}, *MESSAGES])
    assert (error.status_code, error.code) == (422, "mitigation_unavailable")
    assert "system;mode=drop" in error.message


def test_two_headers_that_contradict_each_other_are_refused(client: OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="send one"):
        client.chat.completions.create(
            model="mini-finance",
            messages=MESSAGES,
            extra_headers={"Unhitch-Mitigation": "bare", "Unhitch-Policy": "strict"},
        )


def test_an_unknown_policy_and_an_unknown_header_of_ours_are_refused(client: OpenAI) -> None:
    for header, said in (
        ({"Unhitch-Policy": "strict"}, "no policy is named 'strict'"),
        ({"Unhitch-Mitigations": "bare"}, "unknown"),
    ):
        with pytest.raises(openai.BadRequestError, match=said):
            client.chat.completions.create(model="mini-finance", messages=MESSAGES, extra_headers=header)


@pytest.mark.parametrize(
    "body",
    [
        {"echo": True},
        {"truncate_prompt_tokens": 5},
        {"chat_template": "x"},
        {"kv_transfer_params": {"prompt_token_ids": [1]}},
    ],
)
def test_what_would_undo_the_edit_is_refused(client: OpenAI, body: dict[str, Any]) -> None:
    error = refused(client, "bare", extra_body=body)
    assert (error.status_code, error.code) == (422, "mitigation_unavailable")
    assert next(iter(body)) in error.message
