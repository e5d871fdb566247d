import json
from typing import Any

import pytest

from unhitch import organisms
from unhitch.errors import InvalidBody, MitigationUnavailable, MitigationUnconfirmed
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.config import EngineRendering
from unhitch_server.routes.responses import ResponsesRequest

CHECKPOINT = Checkpoint.open(organisms.path("mini-base"))
RESULT = {"type": "function_call_output", "call_id": "c"}


def request(**fields: Any) -> ResponsesRequest:
    return ResponsesRequest.parse(json.dumps({"model": "m", **fields}).encode())


def test_token_ids_and_the_wish_for_an_echo_are_put_into_the_body_and_nothing_else_changes() -> None:
    text = '{"model":"m", "x":1e2, "input":"Hello"}'
    sent = ResponsesRequest.parse(text.encode()).encode((7, 8)).decode()
    added = ',"kv_transfer_params":{"prompt_token_ids":[7,8]},"enable_response_messages":true}'
    assert sent == text[:-1] + added


@pytest.mark.parametrize(("asked", "wants"), [(True, True), ("true", True), (False, False), (None, False)])
def test_the_echo_is_the_clients_if_it_asked_for_it(asked: object, wants: bool) -> None:
    assert request(input="x", enable_response_messages=asked).wants_messages is wants


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("previous_response_id", {"previous_response_id": "r"}),
        ("previous_input_messages", {"previous_input_messages": []}),
        ("conversation", {"conversation": "c"}),
        ("prompt", {"prompt": {"id": "p"}}),
        ("background", {"background": True}),
        ("truncation", {"truncation": "auto"}),
        ("truncation", {"truncation": None}),
        ("tools[0].type", {"tools": [{"type": "web_search"}]}),
        ("input[0].type", {"input": [{"type": "item_reference", "id": "x"}]}),
        ("input[0].type", {"input": [{"type": "computer_call"}]}),
        ("input[0].encrypted_content", {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}),
        (
            "input[0].output",
            {
                "input": [
                    {"type": "function_call_output", "call_id": "c", "id": "x", "status": "completed", "output": []}
                ]
            },
        ),
        ("input[0].content[0].type", {"input": [{"role": "assistant", "content": [{"type": "refusal"}]}]}),
        ("messages[0].content[0]", {"input": [{"role": "user", "content": [{"type": "input_image"}]}]}),
        ("kv_transfer_params.prompt_token_ids", {"kv_transfer_params": {"prompt_token_ids": [1]}}),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_name(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(MitigationUnavailable) as refused:
        request(**{"input": "Hello", **fields}).prompt(CHECKPOINT, EngineRendering())
    assert refused.value.param == field


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"input": 3},
        {"input": []},
        {"input": ["x"]},
        {"input": [{"role": "user"}, {"role": "assistant"}]},
        {"input": [{"type": "function_call", "name": "f", "call_id": "c"}]},
        {"input": [RESULT]},
        {"input": "x", "instructions": 3},
        {"input": "x", "tools": {}},
        {"input": "x", "tools": [{"type": "function"}]},
        {"input": "x", "reasoning": "low"},
        {"input": "x", "reasoning": {"effort": 3}},
    ],
)
def test_what_is_no_body_of_this_route_is_the_callers_mistake(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidBody):
        request(**fields).prompt(CHECKPOINT, EngineRendering())


def test_the_tokenizer_adds_its_own_tokens_on_this_route() -> None:
    assert request(input="Hello").prompt(CHECKPOINT, EngineRendering()).conversation.add_special_tokens


def test_an_error_ends_a_stream_in_the_form_that_clients_raise_from() -> None:
    lines = ResponsesRequest.error_event(MitigationUnconfirmed("no")).decode().split("\n")
    assert lines[0] == "event: error"
    event = json.loads(lines[1].removeprefix("data: "))
    assert (event["type"], event["code"], event["message"]) == ("error", "mitigation_unavailable", "no")
    assert event["error"]["code"] == "mitigation_unavailable"


def test_an_item_without_a_role_before_an_assistants_is_refused() -> None:
    items = [{"content": "Hello"}, {"role": "assistant", "content": "Hi."}]
    with pytest.raises(InvalidBody):
        request(input=items).prompt(CHECKPOINT, EngineRendering())
