"""What a chat template is applied to: the messages and options of one request, as the engine sees them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from unhitch.errors import InvalidBody, MitigationUnavailable
from unhitch.rendering.messages import (
    SYSTEM_ROLES,
    ContentFormat,
    Message,
    content_text,
    parse_messages,
    parse_tools,
    text_content,
    wrong,
)

# The engine reads these from the body alone, or passes them to the tokenizer; a template never sees them.
_NOT_FOR_TEMPLATE = (
    "add_generation_prompt",
    "continue_final_message",
    "max_length",
    "padding",
    "return_dict",
    "return_tensors",
    "truncation",
)
_RESERVED = ("conversation", "messages", "return_assistant_tokens_mask", "tokenize", "tokenizer_kwargs")


@dataclass(frozen=True)
class Conversation:
    """Messages and options of one request, as the engine hands them to the chat template.

    Args:
        messages: At least one; parsed, in the template's content format. Not to be changed in place.
        tools: Tool definitions, or None.
        add_generation_prompt: Whether the prompt ends with the opening of the assistant's turn.
        continue_final_message: Whether the last message is left open, to be continued.
        add_special_tokens: Whether the tokenizer adds its own special tokens around the rendered text.
        chat_template_kwargs: Further variables of the template, such as `enable_thinking`.
        documents: Documents for templates that show them, or None.
        content_format: How the contents of `messages` are written.
    """

    messages: tuple[Message, ...]
    tools: tuple[dict[str, Any], ...] | None = None
    add_generation_prompt: bool = True
    continue_final_message: bool = False
    add_special_tokens: bool = False
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)
    documents: tuple[dict[str, Any], ...] | None = None
    content_format: ContentFormat = "string"

    @classmethod
    def from_body(
        cls,
        body: Mapping[str, Any],
        *,
        content_format: ContentFormat,
        default_template_kwargs: Mapping[str, Any] | None = None,
        exclude_tools_when_tool_choice_none: bool = False,
    ) -> Conversation:
        """The conversation in the body of a chat completion request.

        Args:
            body: The parsed JSON; it is not changed.
            content_format: The checkpoint's.
            default_template_kwargs: The engine's `--default-chat-template-kwargs`.
            exclude_tools_when_tool_choice_none: The engine's flag of that name.

        Raises:
            InvalidBody: The body is malformed; the position is named.
            MitigationUnavailable: The body asks for something that makes the engine ignore token ids.
        """
        _refuse(body)
        messages = parse_messages(body.get("messages"), content_format)
        tools = parse_tools(body.get("tools"))
        if exclude_tools_when_tool_choice_none and body.get("tool_choice") == "none":
            tools = None
        generation, continuing = _flag(body, "add_generation_prompt", True), _flag(body, "continue_final_message")
        if generation and continuing:
            raise InvalidBody(
                "`continue_final_message` and `add_generation_prompt` are both true; set the latter to false.",
                param="add_generation_prompt",
            )
        kwargs = _template_kwargs(body, default_template_kwargs or {}, tools)
        return cls(
            messages=messages,
            tools=_objects(kwargs.pop("tools", None), "chat_template_kwargs.tools"),
            add_generation_prompt=generation,
            continue_final_message=continuing,
            add_special_tokens=_flag(body, "add_special_tokens"),
            documents=_objects(kwargs.pop("documents", None), "documents"),
            chat_template_kwargs={key: value for key, value in kwargs.items() if key not in _NOT_FOR_TEMPLATE},
            content_format=content_format,
        )

    @property
    def system_text(self) -> str | None:
        """Text of the leading system or developer message; None if there is none."""
        return content_text(self.messages[0].get("content")) if self._has_system else None

    def with_system(self, text: str | None) -> Conversation:
        """The conversation with another leading system message.

        Args:
            text: Replaces the text of the leading system or developer message, or goes before the first message where
                there is none; None drops that message.
        """
        rest = self.messages[1:] if self._has_system else self.messages
        if text is None:
            return dataclasses.replace(self, messages=rest)
        opening = self.messages[0] if self._has_system else {"role": "system"}
        opening = opening | {"content": text_content(text, self.content_format)}
        return dataclasses.replace(self, messages=(opening, *rest))

    def opening(self) -> str:
        """Canonical text of all through the first user message: equal in every turn of a conversation."""
        start = []
        for message in self.messages:
            start.append([message["role"], content_text(message.get("content"))])
            if message["role"] == "user":
                break
        return json.dumps(start, ensure_ascii=False, separators=(",", ":"))

    @property
    def _has_system(self) -> bool:
        return bool(self.messages) and self.messages[0]["role"] in SYSTEM_ROLES


def _refuse(body: Mapping[str, Any]) -> None:
    """Raise for what the engine would answer from its own rendering, or from a template that is not known here."""
    transfer = body.get("kv_transfer_params")
    given = {
        "chat_template": body.get("chat_template") is not None,
        "echo": bool(body.get("echo")),
        "truncate_prompt_tokens": body.get("truncate_prompt_tokens") is not None,
        "kv_transfer_params.prompt_token_ids": isinstance(transfer, Mapping)
        and transfer.get("prompt_token_ids") is not None,
    }
    for name, is_given in given.items():
        if is_given:
            raise MitigationUnavailable(
                f"`{name}` is set; the prompt would then not be the one that is edited here. Leave it out, or turn "
                f"the mitigation off.",
                param=name,
            )


def _template_kwargs(
    body: Mapping[str, Any], defaults: Mapping[str, Any], tools: tuple[dict[str, Any], ...] | None
) -> dict[str, Any]:
    """Variables of the template: the engine's defaults under the caller's, both under the body's own fields."""
    given = body.get("chat_template_kwargs")
    if given is not None and not isinstance(given, Mapping):
        raise wrong("chat_template_kwargs", given, "an object")
    given = given or {}
    if given.get("chat_template") is not None:
        _refuse({"chat_template": given["chat_template"]})
    for name in _RESERVED:
        if name in given:
            raise InvalidBody(
                f"`chat_template_kwargs.{name}` is set; that name is taken by the engine. Leave it out.",
                param=f"chat_template_kwargs.{name}",
            )
    own = {"documents": body.get("documents"), "reasoning_effort": body.get("reasoning_effort")}
    if body.get("reasoning_effort") is not None and "enable_thinking" not in given:
        own["enable_thinking"] = body["reasoning_effort"] != "none"
    return {**defaults, **_set({"tools": tools}), **_set({**given, **_set(own)})}


def _set(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without the values that the engine takes for not set."""
    return {key: value for key, value in values.items() if value is not None and value != "auto"}


def _flag(body: Mapping[str, Any], name: str, default: bool = False) -> bool:
    value = body.get(name, default)
    if not isinstance(value, bool):
        raise wrong(name, value, "true or false")
    return value


def _objects(value: object, where: str) -> tuple[dict[str, Any], ...] | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(item, dict) for item in value):
        raise wrong(where, value, "an array of objects")
    return tuple(value)
