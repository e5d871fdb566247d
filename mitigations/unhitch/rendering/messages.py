"""Chat messages and tool definitions as the engine hands them to the chat template (vLLM 0.32).

Between an OpenAI body and the template stand a few rewritings: content parts are joined or kept, arguments of tool
calls become objects, fields that no template gets are left out. The prompt's tokens depend on them, so they are done
here in the same way and in the same order of keys.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from unhitch.errors import InvalidBody, MitigationUnavailable

ContentFormat = Literal["string", "openai"]
"""Whether a template reads `content` as one string, or loops over a list of parts."""

Message = dict[str, Any]

SYSTEM_ROLES = ("system", "developer")

_PART_TEXT = {
    "text": "text",
    "input_text": "text",
    "output_text": "text",
    "refusal": "refusal",
    "thinking": "thinking",
    "tool_reference": "name",
}
"""Type of a text part -> its key that holds the text."""

_MEDIA_KEYS = {
    "audio_embeds",
    "audio_url",
    "image_embeds",
    "image_pil",
    "image_url",
    "input_audio",
    "input_image",
    "prompt_embeds",
    "video_embeds",
    "video_url",
}

# The engine passes fields of a part on to the template, except those that some kind of part defines.
_PART_FIELDS = (_MEDIA_KEYS - {"input_image", "prompt_embeds"}) | {
    *("closed", "data", "file", "name", "prompt_cache_breakpoint", "refusal", "text", "thinking", "type", "uuid")
}

# A client's billing line differs in every request; vLLM takes it off to keep its prefix cache useful.
_BILLING_LINE = "x-anthropic-billing-header"


def kind(value: object) -> str:
    """What JSON calls the type of a value, for error messages."""
    names: dict[type, str] = {dict: "an object", list: "an array", str: "a string", bool: "a boolean"}
    return "null" if value is None else names.get(type(value), "a number")


def wrong(where: str, value: object, allowed: str) -> InvalidBody:
    """The error for a field of the wrong type, naming its position, what it is and what is allowed."""
    return InvalidBody(f"`{where}` is {kind(value)}; {allowed} is expected.", param=where)


def parse_messages(raw: object, content_format: ContentFormat) -> tuple[Message, ...]:
    """The messages of a body as the template gets them.

    Args:
        raw: The body's `messages`.
        content_format: What the template reads as `content`.

    Raises:
        InvalidBody: The messages are missing, empty or malformed; the position is named.
        MitigationUnavailable: A message holds media.
    """
    if not isinstance(raw, list):
        raise wrong("messages", raw, "an array of messages")
    if not raw:
        raise InvalidBody("`messages` is empty; at least one message is expected.", param="messages")
    return tuple(_message(message, f"messages[{index}]", content_format) for index, message in enumerate(raw))


def parse_tools(raw: object) -> tuple[dict[str, Any], ...] | None:
    """The tool definitions of a body as the template gets them: known keys only, absent ones filled with None.

    Raises:
        InvalidBody: The tools are empty or malformed; the position is named.
    """
    if raw is None:
        return None
    if not isinstance(raw, list):
        raise wrong("tools", raw, "an array of tools")
    if not raw:
        raise InvalidBody("`tools` is empty; name at least one tool, or leave the field out.", param="tools")
    return tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(raw))


def content_text(content: object) -> str:
    """The text of a parsed message's content; parts are joined with a newline."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    return "\n".join(part.get("text", part.get("name", "")) for part in content)


def text_content(text: str, content_format: ContentFormat) -> str | list[dict[str, Any]]:
    """Text as the content of a parsed message."""
    return [{"type": "text", "text": text}] if content_format == "openai" else text


def developer_as_system(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Messages for a template that has no developer role: developer becomes system, and all system texts one message.

    Without a developer message, the messages as they are.
    """
    if all(message["role"] != "developer" for message in messages):
        return tuple(messages)
    renamed = [
        {key: value for key, value in message.items() if key != "tools"} | {"role": "system"}
        if message["role"] == "developer"
        else message
        for message in messages
    ]
    places = [index for index, message in enumerate(renamed) if message["role"] == "system"]
    if places == [0]:
        return tuple(renamed)
    texts = [text for index in places if (text := content_text(_only_text(renamed[index]["content"])))]
    others = (message for message in renamed if message["role"] != "system")
    return ({"role": "system", "content": "\n\n".join(texts)}, *others)


def _message(raw: object, where: str, content_format: ContentFormat) -> Message:
    if not isinstance(raw, Mapping):
        raise wrong(where, raw, "an object with `role` and `content`")
    role = raw.get("role")
    if not isinstance(role, str):
        raise wrong(f"{where}.role", role, "a string such as user, assistant or system")
    parts = _parts(raw, role, f"{where}.content")
    message: Message = {"role": role, "content": _content(parts, role, content_format)}
    if role == "assistant":
        message |= _assistant_fields(raw, where)
    elif role == "tool" and "tool_call_id" in raw:
        message["tool_call_id"] = raw["tool_call_id"]
    for field in ("name", "task"):
        if (value := _optional_text(raw, field, where)) is not None:
            message[field] = value
    if role == "developer":
        message["tools"] = _developer_tools(raw.get("tools"), f"{where}.tools")
    return message


def _only_text(content: str | list[dict[str, Any]]) -> str | list[dict[str, Any]]:
    return content if isinstance(content, str) else [part for part in content if part["type"] == "text"]


def _content(parts: list[dict[str, Any]], role: str, content_format: ContentFormat) -> str | list[dict[str, Any]]:
    if content_format == "string":
        return content_text([part for part in parts if content_text([part])])  # empty parts add no newline
    # Results of tools are joined even for templates that loop over parts, unless a part refers to a tool.
    return content_text(parts) if role == "tool" and all(part["type"] == "text" for part in parts) else parts


def _parts(raw: Mapping[str, Any], role: str, where: str) -> list[dict[str, Any]]:
    content = raw.get("content")
    if content is None:
        if "content" in raw and role not in ("assistant", "function"):
            raise wrong(where, content, "a string or an array of text parts")
        return []
    if isinstance(content, str):
        content = [{"type": "text", "text": content}]
    if not isinstance(content, list):
        raise wrong(where, content, "a string or an array of text parts")
    parts = [_part(part, f"{where}[{index}]") for index, part in enumerate(content)]
    if role != "system":
        return parts
    return [kept for part, given in zip(parts, content, strict=True) if (kept := _without_billing_line(part, given))]


def _part(raw: object, where: str) -> dict[str, Any]:
    if isinstance(raw, str):
        return {"type": "text", "text": raw}
    if not isinstance(raw, Mapping):
        raise wrong(where, raw, "a string or an object with `type`")
    media = sorted(_MEDIA_KEYS & raw.keys())
    part_type = raw.get("type")
    if media or (isinstance(part_type, str) and part_type not in _PART_TEXT):
        raise MitigationUnavailable(
            f"`{where}` holds {media[0] if media else part_type!r}; the prompt of a message with media is made by the "
            f"engine alone, so its tokens cannot be edited. Send text parts, or use a strategy that edits messages.",
            param=where,
        )
    if not isinstance(part_type, str):
        raise wrong(f"{where}.type", part_type, "the part's type, such as text,")
    if raw.get("uuid") is not None:
        raise InvalidBody(f"`{where}.uuid` is set on a text part; leave it out.", param=f"{where}.uuid")
    key = _PART_TEXT[part_type]
    text = raw.get(key)
    if not isinstance(text, str):
        raise wrong(f"{where}.{key}", text, "a string")
    if part_type == "tool_reference":
        return {"type": "tool_reference", "name": text}
    return {"type": "text", "text": text} | {k: value for k, value in raw.items() if k not in _PART_FIELDS}


def _without_billing_line(part: dict[str, Any], raw: str | Mapping[str, Any]) -> dict[str, Any] | None:
    if not (isinstance(raw, str) or raw["type"] == "text") or not part["text"].startswith(_BILLING_LINE):
        return part
    rest = part["text"].partition("\n")[2]
    return part | {"text": rest} if rest else None


def _assistant_fields(raw: Mapping[str, Any], where: str) -> Message:
    fields: Message = {}
    calls = raw.get("tool_calls")
    if calls is not None and not isinstance(calls, list):
        raise wrong(f"{where}.tool_calls", calls, "an array of tool calls")
    if calls:
        fields["tool_calls"] = [_tool_call(call, f"{where}.tool_calls[{index}]") for index, call in enumerate(calls)]
    reasoning = _optional_text(raw, "reasoning", where)
    if reasoning is None:
        reasoning = _optional_text(raw, "reasoning_content", where)
    if reasoning is not None:
        fields |= {"reasoning": reasoning, "reasoning_content": reasoning}
    return fields


def _tool_call(raw: object, where: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise wrong(where, raw, "an object with `id`, `type` and `function`")
    function = raw.get("function")
    if raw.get("type") != "function" or not isinstance(function, Mapping):
        raise InvalidBody(f"`{where}` is no call of a function; only type function is allowed.", param=where)
    if not isinstance(function.get("name"), str):
        raise wrong(f"{where}.function.name", function.get("name"), "a string")
    arguments = {"arguments": _arguments(function.get("arguments"), f"{where}.function.arguments")}
    return _ordered(raw, "id", "function", "type") | {"function": _ordered(function, "arguments", "name") | arguments}


def _arguments(raw: object, where: str) -> dict[str, Any]:
    if isinstance(raw, dict):
        return raw
    if not isinstance(raw, str):
        raise wrong(where, raw, "a string of JSON")
    try:
        parsed = json.loads(raw)
    except json.JSONDecodeError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _tool(raw: object, where: str) -> dict[str, Any]:
    if not isinstance(raw, Mapping):
        raise wrong(where, raw, "an object with `type` and `function`")
    if raw.get("type", "function") != "function":
        raise InvalidBody(f"`{where}.type` is {raw['type']!r}; only function is allowed.", param=f"{where}.type")
    function = raw.get("function")
    if not isinstance(function, Mapping):
        raise wrong(f"{where}.function", function, "an object with `name`")
    if not isinstance(function.get("name"), str):
        raise wrong(f"{where}.function.name", function.get("name"), "a string")
    definition: dict[str, Any] = {key: function.get(key) for key in ("name", "description", "parameters")}
    deferred = raw.get("defer_loading")
    own = function.get("defer_loading")
    optional = {"strict": function.get("strict"), "defer_loading": deferred if own is None else own}
    definition |= {key: value for key, value in optional.items() if value is not None}
    tool: dict[str, Any] = {"type": "function", "function": definition}
    return tool if deferred is None else tool | {"defer_loading": deferred}


def _developer_tools(raw: object, where: str) -> list[dict[str, Any]] | None:
    if raw is None:
        return None
    if not isinstance(raw, list) or not all(
        isinstance(tool, Mapping) and isinstance(tool.get("function", {}), Mapping) for tool in raw
    ):
        raise wrong(where, raw, "an array of tools")
    return [
        _ordered(tool, "function", "type")
        | {"function": _ordered(tool.get("function", {}), "name", "description", "parameters", "strict")}
        for tool in raw
    ]


def _ordered(raw: Mapping[str, Any], *first: str) -> dict[str, Any]:
    """A copy with some keys first: a template that prints a whole object shows its order."""
    return {key: raw[key] for key in first if key in raw} | {k: v for k, v in raw.items() if k not in first}


def _optional_text(raw: Mapping[str, Any], field: str, where: str) -> str | None:
    value = raw.get(field)
    if value is not None and not isinstance(value, str):
        raise wrong(f"{where}.{field}", value, "a string")
    return value
