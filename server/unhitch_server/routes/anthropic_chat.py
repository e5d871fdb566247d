"""Anthropic messages as the chat messages that vLLM 0.32 makes of them (`vllm/entrypoints/anthropic/serving.py`)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import jinja2
from jinja2.ext import loopcontrols
from jinja2.sandbox import ImmutableSandboxedEnvironment

from unhitch.errors import InvalidBody
from unhitch.rendering.messages import wrong
from unhitch_server.routes.converted import unknown

Chat = dict[str, Any]

# A client's billing line differs in every request; vLLM leaves blocks that begin with it out.
_BILLING_LINE = "x-anthropic-billing-header"

_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none", "tool": "named"}
"""What the engine makes of a choice; of these only `none` can change the prompt."""


def chat_messages(body: Mapping[str, Any], *, system_first: bool) -> list[Chat]:
    """The chat messages of a body.

    Args:
        body: Decoded.
        system_first: Whether system messages further down join the leading one (`needs_system_first`).

    Raises:
        InvalidBody: The messages or the system text are malformed; the position is named.
        MitigationUnavailable: There are images, documents, or blocks of a kind that is not known here.
    """
    raw = body.get("messages")
    if not isinstance(raw, list):
        raise wrong("messages", raw, "an array of messages")
    leading = list(_system_texts(body.get("system"), "system"))
    turns: list[Chat] = []
    for index, message in enumerate(raw):
        where = f"messages[{index}]"
        role = message.get("role") if isinstance(message, Mapping) else None
        if role == "system":
            text = "".join(_system_texts(message.get("content"), f"{where}.content", inline=True))
            if system_first:
                leading.append(text)
            elif text:
                turns.append({"role": "system", "content": text})
        elif role in ("user", "assistant"):
            turns += _turn(role, message.get("content"), f"{where}.content")
        else:
            raise InvalidBody(f"`{where}.role` is {role!r}; user, assistant or system is expected.", param=where)
    system = [{"role": "system", "content": "".join(leading)}] if any(leading) else []
    return system + turns


def chat_tools(raw: object) -> list[Chat] | None:
    """The tools of a body as chat tools; None where it has none.

    Raises:
        InvalidBody: They are malformed.
    """
    if raw is None:
        return None
    if not isinstance(raw, list):
        raise wrong("tools", raw, "an array of tools")
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(raw)]


def chat_tool_choice(raw: object) -> str | None:
    """The choice of tools as far as it can change the prompt.

    Raises:
        InvalidBody: It is malformed.
    """
    if raw is None:
        return None
    choice = raw.get("type") if isinstance(raw, Mapping) else None
    if not isinstance(choice, str) or choice not in _TOOL_CHOICES:
        raise InvalidBody(
            f"`tool_choice.type` is {choice!r}; one of {', '.join(_TOOL_CHOICES)} is expected.", param="tool_choice"
        )
    return _TOOL_CHOICES[choice]


def needs_system_first(template: str) -> bool:
    """Whether a template refuses a system message further down, as far as vLLM finds that out.

    Rendered is what vLLM renders for this, with nothing but Jinja: a template that uses more of what transformers offer
    counts as refusing.
    """
    turns = [{"role": role, "content": "t"} for role in ("system", "user", "system", "user")]
    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols])
    try:
        environment.from_string(template).render(messages=turns, add_generation_prompt=False)
    except jinja2.TemplateError:
        return True
    return False


def _system_texts(raw: object, where: str, *, inline: bool = False) -> Iterator[str]:
    """Texts of a system prompt, less those with a billing line; a bare string keeps it where it leads the body."""
    if raw is None and not inline:
        return
    if isinstance(raw, str):
        if not (inline and raw.startswith(_BILLING_LINE)):
            yield raw
        return
    for block, place in _blocks(raw, where):
        if block["type"] in ("tool_addition", "tool_removal"):
            raise unknown(place, f"is a block of type {block['type']}, which changes the tools")
        if block["type"] == "text" and not (text := _text(block, "text", place)).startswith(_BILLING_LINE):
            yield text


def _turn(role: str, content: object, where: str) -> Iterator[Chat]:
    """A user's or an assistant's message: results of tools come first, as messages of their own."""
    if isinstance(content, str):
        yield {"role": role, "content": content}
        return
    parts: list[Chat] = []
    calls: list[Chat] = []
    thoughts: list[str] = []
    for block, place in _blocks(content, where):
        kind = block["type"]
        if kind == "text":
            parts += [{"type": "text", "text": text}] if (text := _text(block, "text", place)) else []
        elif kind == "thinking":
            thoughts += [_text(block, "thinking", place)]
        elif kind == "tool_use":
            calls.append(_call(block, place))
        elif kind == "tool_result" and role == "user":
            yield from _results(block, place)
        elif kind == "tool_result":
            parts.append({"type": "text", "text": f"Tool result: {block.get('content') or ''}"})
        elif kind not in ("redacted_thinking", "tool_reference"):
            raise unknown(place, f"is a block of type {kind!r}")
    message: Chat = {"role": role}
    if thoughts:
        message["reasoning"] = "".join(thoughts)
    if calls:
        message["tool_calls"] = calls
    if parts:
        message["content"] = parts[0]["text"] if len(parts) == 1 else parts
    if role == "assistant" or parts:
        yield message


def _call(block: Mapping[str, Any], where: str) -> Chat:
    given = block.get("input")
    if not isinstance(given, dict | None):
        raise wrong(f"{where}.input", given, "an object")
    if not (name := _text(block, "id", where)):
        raise unknown(f"{where}.id", "is missing, and the engine makes one up")
    function = {"name": _text(block, "name", where), "arguments": json.dumps(given or {})}
    return {"id": name, "type": "function", "function": function}


def _results(block: Mapping[str, Any], where: str) -> Iterator[Chat]:
    content = block.get("content")
    texts: list[str] = []
    references: list[Chat] = []
    if isinstance(content, str):
        texts.append(content)
    elif content is not None:
        for part, place in _blocks(content, f"{where}.content"):
            if part["type"] == "text":
                texts.append(_text(part, "text", place))
            elif part["type"] == "tool_reference":
                named = part.get("tool_name") or part.get("name")
                references += [{"type": "tool_reference", "name": named}] if named else []
            else:
                raise unknown(place, f"is a block of type {part['type']!r}")
    result: Chat = {"role": "tool", "tool_call_id": _text(block, "tool_use_id", where)}
    yield result | {"content": "\n".join(texts)}
    if references:
        yield result | {"content": references}


def _tool(raw: object, where: str) -> Chat:
    if not isinstance(raw, Mapping):
        raise wrong(where, raw, "an object with `name` and `input_schema`")
    if raw.get("type") not in (None, "custom"):
        raise unknown(f"{where}.type", f"is {raw['type']!r}, a tool that is built in")
    schema = raw.get("input_schema")
    if not isinstance(schema, dict):
        raise wrong(f"{where}.input_schema", schema, "an object")
    function = {"name": raw.get("name"), "description": raw.get("description")}
    function["parameters"] = schema if "type" in schema else schema | {"type": "object"}
    return {"type": "function", "function": function | {key: raw.get(key) for key in ("strict", "defer_loading")}}


def _blocks(raw: object, where: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    """Each block of a content with its place."""
    if not isinstance(raw, list):
        raise wrong(where, raw, "a string or an array of blocks")
    for index, block in enumerate(raw):
        place = f"{where}[{index}]"
        if not isinstance(block, Mapping) or not isinstance(block.get("type"), str):
            raise wrong(place, block, "an object with `type`")
        yield block, place


def _text(block: Mapping[str, Any], key: str, where: str) -> str:
    """A block's text; a block may lack it."""
    value = block.get(key)
    if not isinstance(value, str | None):
        raise wrong(f"{where}.{key}", value, "a string")
    return value or ""
