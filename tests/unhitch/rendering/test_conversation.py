"""What a body says about the prompt, and how its system text is changed."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from unhitch.errors import InvalidBody, MitigationUnavailable
from unhitch.rendering.conversation import Conversation

USER = {"role": "user", "content": "How?"}
SYSTEM = {"role": "system", "content": "Be brief."}
TOOL = {"type": "function", "function": {"name": "f"}}


def conversation(*messages: dict[str, Any], **fields: Any) -> Conversation:
    return Conversation.from_body({"messages": list(messages) or [USER], **fields}, content_format="string")


def test_defaults_are_the_engines() -> None:
    made = conversation()
    assert (made.add_generation_prompt, made.continue_final_message, made.add_special_tokens) == (True, False, False)
    assert (made.tools, made.documents, dict(made.chat_template_kwargs)) == (None, None, {})


def test_variables_for_the_template_are_passed_on() -> None:
    assert conversation(chat_template_kwargs={"enable_thinking": False}).chat_template_kwargs == {
        "enable_thinking": False
    }


def test_variables_that_are_null_or_auto_count_as_not_set() -> None:
    assert conversation(chat_template_kwargs={"a": None, "b": "auto", "c": 0}).chat_template_kwargs == {"c": 0}


@pytest.mark.parametrize(("effort", "thinking"), [("high", True), ("none", False)])
def test_reasoning_effort_reaches_the_template_and_sets_thinking(effort: str, thinking: bool) -> None:
    variables = conversation(reasoning_effort=effort).chat_template_kwargs
    assert variables == {"reasoning_effort": effort, "enable_thinking": thinking}


def test_thinking_that_the_caller_sets_wins_over_the_effort() -> None:
    made = conversation(reasoning_effort="high", chat_template_kwargs={"enable_thinking": False})
    assert made.chat_template_kwargs["enable_thinking"] is False


@pytest.mark.parametrize("variables", [{"add_generation_prompt": False}, {"reasoning_effort": "low"}])
def test_the_bodys_own_field_wins_over_a_variable_of_its_name(variables: dict[str, Any]) -> None:
    made = conversation(reasoning_effort="high", chat_template_kwargs=variables)
    assert made.add_generation_prompt is True
    assert made.chat_template_kwargs == {"reasoning_effort": "high", "enable_thinking": True}


def test_the_engines_defaults_stand_under_the_callers_variables() -> None:
    body = {"messages": [USER], "chat_template_kwargs": {"a": 1}}
    made = Conversation.from_body(body, content_format="string", default_template_kwargs={"a": 0, "b": 0})
    assert made.chat_template_kwargs == {"a": 1, "b": 0}


def test_tools_stay_when_they_are_not_to_be_called() -> None:
    assert conversation(tools=[TOOL], tool_choice="none").tools is not None


def test_tools_are_left_out_when_the_engine_is_told_to() -> None:
    body = {"messages": [USER], "tools": [TOOL], "tool_choice": "none"}
    made = Conversation.from_body(body, content_format="string", exclude_tools_when_tool_choice_none=True)
    assert made.tools is None


def test_documents_come_from_the_body_or_from_the_variables() -> None:
    documents = [{"title": "a", "text": "b"}]
    assert conversation(documents=documents).documents == tuple(documents)
    made = conversation(chat_template_kwargs={"documents": documents})
    assert (made.documents, dict(made.chat_template_kwargs)) == (tuple(documents), {})


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"chat_template": "x"}, "chat_template"),
        ({"chat_template_kwargs": {"chat_template": "x"}}, "chat_template"),
        ({"echo": True}, "echo"),
        ({"truncate_prompt_tokens": 5}, "truncate_prompt_tokens"),
        ({"kv_transfer_params": {"prompt_token_ids": [1]}}, "kv_transfer_params.prompt_token_ids"),
    ],
)
def test_what_would_make_another_prompt_is_refused(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(MitigationUnavailable) as caught:
        conversation(**fields)
    assert caught.value.param == name


def test_the_same_fields_pass_when_they_are_not_set() -> None:
    fields: dict[str, Any] = {"chat_template": None, "echo": False, "truncate_prompt_tokens": None}
    assert conversation(**fields, kv_transfer_params={"do_remote_decode": True}).messages == (USER,)


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"add_generation_prompt": "yes"}, "add_generation_prompt"),
        ({"continue_final_message": 1}, "continue_final_message"),
        ({"continue_final_message": True}, "add_generation_prompt"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs"),
        ({"chat_template_kwargs": {"messages": []}}, "chat_template_kwargs.messages"),
        ({"chat_template_kwargs": {"tokenize": True}}, "chat_template_kwargs.tokenize"),
        ({"documents": "x"}, "documents"),
        ({"documents": ["x"]}, "documents"),
        ({"tools": []}, "tools"),
    ],
)
def test_malformed_fields_are_refused_by_name(fields: dict[str, Any], name: str) -> None:
    with pytest.raises(InvalidBody) as caught:
        conversation(**fields)
    assert caught.value.param == name


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_text_is_the_leading_messages(role: str) -> None:
    assert conversation({"role": role, "content": [{"type": "text", "text": "a"}, "b"]}, USER).system_text == "a\nb"


def test_there_is_no_system_text_without_a_leading_system_message() -> None:
    assert conversation(USER, SYSTEM).system_text is None


def test_system_text_is_replaced_and_its_role_stays() -> None:
    made = conversation({"role": "developer", "content": "a", "name": "n"}, USER).with_system("b")
    assert made.messages[0]["role"] == "developer"
    assert (made.system_text, made.messages[0]["name"], made.messages[1]) == ("b", "n", USER)


def test_system_text_is_put_before_the_first_message() -> None:
    assert conversation(USER).with_system("b").messages == ({"role": "system", "content": "b"}, USER)


def test_system_text_is_dropped() -> None:
    assert conversation(SYSTEM, USER).with_system(None).messages == (USER,)
    assert conversation(USER).with_system(None).messages == (USER,)


def test_system_text_is_written_in_the_templates_format() -> None:
    made = Conversation.from_body({"messages": [USER]}, content_format="openai").with_system("b")
    assert made.messages[0]["content"] == [{"type": "text", "text": "b"}]


def test_changing_system_text_leaves_the_conversation_as_it_was() -> None:
    made = conversation(SYSTEM, USER)
    made.with_system("b")
    assert made.system_text == "Be brief."


def test_the_opening_is_equal_in_every_turn() -> None:
    answer = {"role": "assistant", "content": "So."}
    later = conversation(SYSTEM, USER, answer, {"role": "user", "content": "Why?"}, tools=[TOOL])
    assert conversation(SYSTEM, USER).opening() == later.opening()


def test_the_opening_is_equal_for_a_string_and_for_one_part() -> None:
    part = {"role": "user", "content": [{"type": "text", "text": "How?"}]}
    assert conversation(USER).opening() == conversation(part).opening()
    body = {"messages": [USER]}
    assert conversation(USER).opening() == Conversation.from_body(body, content_format="openai").opening()


@pytest.mark.parametrize("other", [[USER], [SYSTEM, {"role": "user", "content": "How"}], [SYSTEM, SYSTEM, USER]])
def test_the_opening_differs_where_the_start_differs(other: list[dict[str, Any]]) -> None:
    assert conversation(SYSTEM, USER).opening() != conversation(*other).opening()


def test_the_opening_cannot_be_forged_across_messages() -> None:
    assert json.loads(conversation(SYSTEM, USER).opening()) == [["system", "Be brief."], ["user", "How?"]]


def test_a_conversation_is_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        conversation().tools = ()  # type: ignore[misc]
