"""Input items of /v1/responses as the chat messages that vLLM 0.32 makes of them (`openai/responses/utils.py`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from unhitch.errors import InvalidBody
from unhitch.rendering.messages import wrong
from unhitch_server.routes.converted import unknown

Chat = dict[str, Any]

_PARTIAL = ("in_progress", "incomplete")
"""The states of a last item that has the engine go on with it."""


def chat_messages(instructions: object, given: object) -> list[Chat]:
    """The chat messages of a body.

    Args:
        instructions: The body's `instructions`.
        given: Its `input`.

    Raises:
        InvalidBody: One of them is malformed; the position is named.
        MitigationUnavailable: There is an item of a kind that is not known here.
    """
    if not isinstance(instructions, str | None):
        raise wrong("instructions", instructions, "a string")
    messages: list[Chat] = [{"role": "system", "content": instructions}] if instructions else []
    if isinstance(given, str):
        return [*messages, {"role": "user", "content": given}]
    if not isinstance(given, list):
        raise wrong("input", given, "a string or an array of items")
    turns: list[Chat] = []  # the instructions are no turn that something could join
    for index, item in enumerate(given):
        where = f"input[{index}]"
        if not isinstance(item, Mapping):
            raise wrong(where, item, "an object")
        _append(turns, item, where)
    return messages + turns


def continues(given: object) -> bool:
    """Whether the engine goes on with the last item, rather than opening a turn of the assistant's."""
    if not isinstance(given, list) or not given or not isinstance(given[-1], Mapping):
        return False
    last = given[-1]
    return last.get("type", "message") in ("message", "reasoning") and last.get("status") in _PARTIAL


def chat_tools(raw: object) -> list[Chat] | None:
    """The tools of a body as chat tools; None where it has none.

    Raises:
        InvalidBody: They are malformed.
        MitigationUnavailable: One is no function of the caller's.
    """
    if raw is None or raw == []:
        return None
    if not isinstance(raw, list):
        raise wrong("tools", raw, "an array of tools")
    return [_tool(tool, f"tools[{index}]") for index, tool in enumerate(raw)]


def _append(turns: list[Chat], item: Mapping[str, Any], where: str) -> None:
    """Puts an item behind the others; what an assistant said, thought and called in a row is one message."""
    kind = item.get("type", "message")
    if kind == "function_call":
        name, namespace = _text(item, "name", where), item.get("namespace")
        flat = f"{namespace}__{name}" if isinstance(namespace, str) and namespace else name
        _join_call(turns, item, flat, _text(item, "arguments", where), where)
    elif kind == "custom_tool_call":
        shim = json.dumps({"input": _text(item, "input", where)}, ensure_ascii=False)
        _join_call(turns, item, _text(item, "name", where), shim, where)
    elif kind in ("function_call_output", "custom_tool_call_output"):
        turns.append(_result(item, where))
    elif kind == "reasoning":
        _join(turns, "reasoning", _reasoning(item, where))
    elif kind != "message":
        raise unknown(f"{where}.type", f"is {kind!r}")
    elif item.get("role") == "assistant":
        text = _assistant_text(item, where)
        if text is None:
            turns.append({"role": "assistant", "content": []})
        else:
            _join(turns, "content", text)
    else:
        turns.append({key: value for key, value in item.items() if key not in ("type", "status", "id")})


def _join(turns: list[Chat], key: str, text: str) -> None:
    if turns and turns[-1].get("role") == "assistant" and turns[-1].get(key) is None:
        turns[-1][key] = text
    else:
        turns.append({"role": "assistant", key: text})


def _join_call(turns: list[Chat], item: Mapping[str, Any], name: str, arguments: str, where: str) -> None:
    function = {"name": name, "arguments": arguments}
    call = {"id": _text(item, "call_id", where), "function": function, "type": "function"}
    if not (turns and turns[-1].get("role") == "assistant"):
        turns.append({"role": "assistant"})
    turns[-1].setdefault("tool_calls", []).append(call)


def _result(item: Mapping[str, Any], where: str) -> Chat:
    output = item.get("output")
    if not isinstance(output, str | list):
        raise wrong(f"{where}.output", output, "a string or an array of text parts")
    if isinstance(output, list) and {"id", "status"} <= item.keys():
        raise unknown(f"{where}.output", "is an array beside `id` and `status`, which the engine prints as an object")
    return {"role": "tool", "content": output, "tool_call_id": _text(item, "call_id", where)}


def _reasoning(item: Mapping[str, Any], where: str) -> str:
    """The first text of a thought, or of its summary."""
    if item.get("encrypted_content"):
        raise unknown(f"{where}.encrypted_content", "cannot be read")
    for key in ("content", "summary"):
        parts = item.get(key)
        if not isinstance(parts, list | None):
            raise wrong(f"{where}.{key}", parts, "an array of texts")
        if parts:
            return _text(parts[0], "text", f"{where}.{key}[0]")
    return ""


def _assistant_text(item: Mapping[str, Any], where: str) -> str | None:
    """The first text of what an assistant said, which is all that the engine takes; None where there is none."""
    content = item.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise wrong(f"{where}.content", content, "a string or an array of texts")
    if not content:
        return None
    place = f"{where}.content[0]"
    if isinstance(content[0], Mapping) and content[0].get("type") not in ("output_text", "input_text"):
        raise unknown(f"{place}.type", f"is {content[0].get('type')!r}")
    return _text(content[0], "text", place)


def _tool(raw: object, where: str) -> Chat:
    if not isinstance(raw, Mapping):
        raise wrong(where, raw, "an object with `type` and `name`")
    function = {key: raw.get(key) for key in ("name", "description", "parameters", "strict", "defer_loading")}
    if raw.get("type") == "custom":
        function |= {"parameters": _custom_parameters(), "strict": None, "defer_loading": None}
    elif raw.get("type") != "function":
        raise unknown(f"{where}.type", f"is {raw.get('type')!r}, which is no function of the caller's")
    return {"type": "function", "function": function}


def _custom_parameters() -> Chat:
    """The one text that a custom tool takes, as vLLM shows it to the model."""
    text = {"type": "string", "description": "The freeform text payload for this tool."}
    return {"type": "object", "properties": {"input": text}, "required": ["input"], "additionalProperties": False}


def _text(item: object, key: str, where: str) -> str:
    value = item.get(key) if isinstance(item, Mapping) else None
    if not isinstance(value, str):
        raise InvalidBody(f"`{where}.{key}` must be a string, not {value!r:.80}", param=f"{where}.{key}")
    return value
