"""How the messages and tools of a body become what the template gets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from unhitch.errors import InvalidBody, MitigationUnavailable
from unhitch.rendering.messages import ContentFormat, developer_as_system, parse_messages, parse_tools


def one(message: dict[str, Any], content_format: ContentFormat = "string") -> dict[str, Any]:
    return parse_messages([message], content_format)[0]


def call(arguments: object) -> dict[str, Any]:
    return {"id": "1", "type": "function", "function": {"name": "f", "arguments": arguments}}


def test_a_string_stays_a_string_for_templates_that_read_strings() -> None:
    assert one({"role": "user", "content": "hi"}) == {"role": "user", "content": "hi"}


def test_a_string_becomes_a_part_for_templates_that_loop_over_parts() -> None:
    assert one({"role": "user", "content": "hi"}, "openai")["content"] == [{"type": "text", "text": "hi"}]


def test_parts_are_joined_with_newlines_and_empty_ones_add_none() -> None:
    parts = [
        {"type": "text", "text": "a"},
        "",
        {"type": "input_text", "text": "b"},
        {"type": "refusal", "refusal": "c"},
    ]
    assert one({"role": "user", "content": parts})["content"] == "a\nb\nc"


def test_own_fields_of_a_part_reach_templates_that_loop_over_parts() -> None:
    part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "detail": "x", "refusal": "y"}
    kept = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}, "detail": "x"}
    assert one({"role": "user", "content": [part]}, "openai")["content"] == [kept]


def test_parts_of_a_tool_result_are_joined_for_every_template() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    message = one({"role": "tool", "content": parts, "tool_call_id": "1"}, "openai")
    assert message == {"role": "tool", "content": "a\nb", "tool_call_id": "1"}


def test_a_tool_result_that_refers_to_a_tool_keeps_its_parts() -> None:
    parts = [{"type": "tool_reference", "name": "f"}]
    assert one({"role": "tool", "content": parts}, "openai")["content"] == parts


@pytest.mark.parametrize("message", [{"role": "assistant", "content": None}, {"role": "user"}])
def test_content_that_is_missing_is_empty(message: dict[str, Any]) -> None:
    assert one(message)["content"] == ""
    assert one(message, "openai")["content"] == []


def test_fields_that_templates_do_not_get_are_left_out() -> None:
    message = {"role": "user", "content": "hi", "name": "bob", "reasoning": "r", "tool_calls": [], "other": 1}
    assert one(message) == {"role": "user", "content": "hi", "name": "bob"}


@pytest.mark.parametrize(
    ("arguments", "parsed"),
    [('{"a": 1}', {"a": 1}), ("", {}), ("[1]", {}), ("no JSON", {}), ({"a": 1}, {"a": 1})],
)
def test_arguments_of_tool_calls_become_objects(arguments: object, parsed: dict[str, Any]) -> None:
    message = one({"role": "assistant", "content": None, "tool_calls": [call(arguments)]})
    assert message["tool_calls"][0]["function"]["arguments"] == parsed


def test_keys_of_a_tool_call_stand_in_the_engines_order() -> None:
    given = {"index": 0, "type": "function", "function": {"name": "f", "arguments": "{}"}, "id": "1"}
    message = one({"role": "assistant", "tool_calls": [given]})
    expected = '[{"id": "1", "function": {"arguments": {}, "name": "f"}, "type": "function", "index": 0}]'
    assert json.dumps(message["tool_calls"]) == expected


def test_no_tool_calls_leave_no_key() -> None:
    assert "tool_calls" not in one({"role": "assistant", "content": "x", "tool_calls": []})


@pytest.mark.parametrize(
    "fields", [{"reasoning": "r"}, {"reasoning_content": "r"}, {"reasoning": "r", "reasoning_content": "q"}]
)
def test_reasoning_has_both_of_its_names(fields: dict[str, str]) -> None:
    message = one({"role": "assistant", "content": "x", **fields})
    assert (message["reasoning"], message["reasoning_content"]) == ("r", "r")


def test_the_billing_line_of_a_client_is_taken_off_system_text() -> None:
    line = "x-anthropic-billing-header: cch=1"
    parts = [{"type": "text", "text": line}, {"type": "text", "text": line + "\nBe brief."}]
    assert one({"role": "system", "content": parts})["content"] == "Be brief."
    assert one({"role": "user", "content": line})["content"] == line


def test_the_body_is_not_changed() -> None:
    messages = [{"role": "assistant", "content": None, "tool_calls": [call('{"a": 1}')]}]
    before = json.dumps(messages)
    parse_messages(messages, "string")
    assert json.dumps(messages) == before


@pytest.mark.parametrize(
    ("messages", "position"),
    [
        (None, "messages"),
        ("x", "messages"),
        ([], "messages"),
        (["x"], "messages[0]"),
        ([{"content": "x"}], "messages[0].role"),
        ([{"role": "user", "content": "x"}, {"role": 5, "content": "x"}], "messages[1].role"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": {"type": "text"}}], "messages[0].content"),
        ([{"role": "user", "content": ["a", 5]}], "messages[0].content[1]"),
        ([{"role": "user", "content": [{"text": "a"}]}], "messages[0].content[0].type"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content[0].text"),
        ([{"role": "user", "content": [{"type": "text", "text": "a", "uuid": "u"}]}], "messages[0].content[0].uuid"),
        ([{"role": "user", "content": "x", "name": 5}], "messages[0].name"),
        ([{"role": "assistant", "content": "x", "reasoning": 5}], "messages[0].reasoning"),
        ([{"role": "assistant", "tool_calls": "x"}], "messages[0].tool_calls"),
        ([{"role": "assistant", "tool_calls": ["x"]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [{"type": "custom"}]}], "messages[0].tool_calls[0]"),
        ([{"role": "assistant", "tool_calls": [call(5)]}], "messages[0].tool_calls[0].function.arguments"),
        ([{"role": "developer", "content": "x", "tools": "x"}], "messages[0].tools"),
    ],
)
def test_a_malformed_message_is_refused_with_its_position(messages: object, position: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        parse_messages(messages, "string")
    assert caught.value.param == position
    assert f"`{position}`" in caught.value.message


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}},
        {"type": "input_audio", "input_audio": {"data": "", "format": "wav"}},
        {"type": "video_url", "video_url": {"url": "x"}},
        {"type": "file", "file": {"file_id": "x"}},
        {"type": "text", "text": "a", "image_url": "x"},
    ],
)
def test_media_are_refused_with_message_and_part(part: dict[str, Any]) -> None:
    with pytest.raises(MitigationUnavailable, match=r"messages\[1\]\.content\[1\]"):
        parse_messages([{"role": "system", "content": "x"}, {"role": "user", "content": ["a", part]}], "string")


def test_tools_get_all_known_keys_in_the_engines_order() -> None:
    tools = parse_tools([{"function": {"parameters": {"b": 1, "a": 2}, "name": "f", "x": 1}, "y": 1}])
    expected = {"name": "f", "description": None, "parameters": {"b": 1, "a": 2}}
    assert json.dumps(tools) == json.dumps([{"type": "function", "function": expected}])


def test_strictness_and_deferred_loading_of_a_tool_are_kept() -> None:
    (tool,) = parse_tools([{"function": {"name": "f", "strict": True}, "defer_loading": True}]) or ()
    assert tool["function"]["strict"] is True
    assert (tool["defer_loading"], tool["function"]["defer_loading"]) == (True, True)


@pytest.mark.parametrize(
    ("tools", "position"),
    [
        ([], "tools"),
        ("x", "tools"),
        (["x"], "tools[0]"),
        ([{"type": "custom"}], "tools[0].type"),
        ([{"type": "function"}], "tools[0].function"),
        ([{"function": {"name": "f"}}, {"function": {}}], "tools[1].function.name"),
    ],
)
def test_malformed_tools_are_refused_with_their_position(tools: object, position: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        parse_tools(tools)
    assert caught.value.param == position


def test_a_leading_developer_message_becomes_the_system_message() -> None:
    messages = parse_messages([{"role": "developer", "content": "a"}, {"role": "user", "content": "b"}], "string")
    assert developer_as_system(messages) == ({"role": "system", "content": "a"}, messages[1])


def test_developer_and_system_texts_are_gathered_in_front() -> None:
    roles = ("system", "user", "developer", "system")
    messages = parse_messages([{"role": role, "content": role} for role in roles], "openai")
    gathered = {"role": "system", "content": "system\n\ndeveloper\n\nsystem"}
    assert developer_as_system(messages) == (gathered, messages[1])


def test_system_messages_stay_where_they_are_without_a_developer_message() -> None:
    messages = parse_messages([{"role": role, "content": "x"} for role in ("user", "system")], "string")
    assert developer_as_system(messages) == messages
