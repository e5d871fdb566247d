import json
from typing import Any

import pytest

from unhitch import organisms
from unhitch.errors import InvalidBody, MitigationUnavailable, ModelNotFound
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.config import EngineRendering
from unhitch_server.routes.anthropic_chat import chat_messages, needs_system_first
from unhitch_server.routes.messages import MessagesRequest, disabled_effort

CHECKPOINT = Checkpoint.open(organisms.path("mini-base"))
USER = {"role": "user", "content": "Hello"}
SYSTEM_FIRST = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{{ raise_exception('no') }}"
SYSTEM_FIRST += "{% endif %}{{ m.role }}:{{ m.content }};{% endfor %}"
EFFORTS = "{% for m in messages %}{{ m.content }}{% endfor %}"


def request(**fields: Any) -> MessagesRequest:
    return MessagesRequest.parse(json.dumps({"model": "m", "max_tokens": 4, **fields}).encode())


def block(**fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": [fields]}


def test_token_ids_are_put_into_the_body_and_nothing_else_changes() -> None:
    text = '{"model":"m", "x":1e2, "kv_transfer_params": {"a": 1}, "messages":[]}'
    sent = MessagesRequest.parse(text.encode()).encode((7, 8)).decode()
    assert sent == '{"model":"m", "x":1e2, "kv_transfer_params": {"a": 1,"prompt_token_ids":[7,8]}, "messages":[]}'


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("messages[0].content[0]", {"messages": [block(type="image", source={})]}),
        ("messages[0].content[0]", {"messages": [block(type="document")]}),
        ("messages[0].content[0]", {"messages": [block(type="new")]}),
        (
            "messages[0].content[0].content[0]",
            {"messages": [block(type="tool_result", tool_use_id="t", content=[{"type": "image"}])]},
        ),
        ("messages[0].content[0].id", {"messages": [{"role": "assistant", "content": [{"type": "tool_use"}]}]}),
        ("messages[1].content[0]", {"messages": [USER, {"role": "system", "content": [{"type": "tool_addition"}]}]}),
        ("tools[0].type", {"messages": [USER], "tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
        (
            "kv_transfer_params.prompt_token_ids",
            {"messages": [USER], "kv_transfer_params": {"prompt_token_ids": [1]}},
        ),
        ("chat_template", {"messages": [USER], "chat_template_kwargs": {"chat_template": "x"}}),
    ],
)
def test_what_cannot_be_told_is_refused_by_its_name(field: str, fields: dict[str, Any]) -> None:
    with pytest.raises(MitigationUnavailable) as refused:
        request(**fields).prompt(CHECKPOINT, EngineRendering())
    assert refused.value.param == field


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"messages": "x"},
        {"messages": []},
        {"messages": ["x"]},
        {"messages": [{"role": "tool", "content": "x"}]},
        {"messages": [{"role": "user", "content": 3}]},
        {"messages": [{"role": "user", "content": ["x"]}]},
        {"messages": [block(type="text", text=3)]},
        {"messages": [USER], "system": 3},
        {"messages": [USER], "tools": {}},
        {"messages": [USER], "tools": [{"name": "x"}]},
        {"messages": [USER], "tools": [{"input_schema": {}}]},
        {"messages": [USER], "tool_choice": "auto"},
        {"messages": [USER], "thinking": "off"},
        {"messages": [USER], "output_config": {"effort": "huge"}},
        {"messages": [USER], "chat_template_kwargs": 3},
    ],
)
def test_what_is_no_body_of_this_route_is_the_callers_mistake(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidBody):
        request(**fields).prompt(CHECKPOINT, EngineRendering())


def test_a_system_message_further_down_joins_the_first_only_where_the_template_wants_that() -> None:
    body = {"system": "A.", "messages": [USER, {"role": "system", "content": "B."}]}
    assert [turn["content"] for turn in chat_messages(body, system_first=False)] == ["A.", "Hello", "B."]
    assert [turn["content"] for turn in chat_messages(body, system_first=True)] == ["A.B.", "Hello"]
    assert needs_system_first(SYSTEM_FIRST)
    assert not needs_system_first(CHECKPOINT.template)
    strict = Checkpoint.open(organisms.path("mini-base"), chat_template=SYSTEM_FIRST)
    assert request(**body).chat(strict)["messages"] == [{"role": "system", "content": "A.B."}, USER]


@pytest.mark.parametrize(
    ("template", "effort"),
    [
        (EFFORTS, "low"),
        (EFFORTS + "{{ 'think' if enable_thinking else '' }}", "none"),
        (EFFORTS + "{% if reasoning_effort == 'none' %}{{ raise_exception('no') }}{% endif %}", "low"),
        (EFFORTS + "{{ reasoning_effort if reasoning_effort in ('low', 'high') else 'max' }}", "low"),
    ],
)
def test_disabled_thinking_is_what_the_template_can_show(template: str, effort: str) -> None:
    checkpoint = Checkpoint.open(organisms.path("mini-base"), chat_template=template)
    assert disabled_effort(checkpoint, EngineRendering()) == effort


def test_an_error_has_anthropics_form() -> None:
    error = ModelNotFound("no such model", param="model")
    body = json.loads(MessagesRequest.error_body(error))
    assert body["type"] == "error"
    assert body["error"] == {
        "type": "not_found_error",
        "message": "no such model",
        "param": "model",
        "code": "model_not_found",
    }
    assert MessagesRequest.error_event(error).startswith(b'event: error\ndata: {"type": "error"')


def test_a_tool_choice_whose_type_is_no_text_is_refused() -> None:
    with pytest.raises(InvalidBody, match="tool_choice"):
        request(messages=[USER], tool_choice={"type": []}).chat(CHECKPOINT)
