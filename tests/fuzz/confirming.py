"""What an answer of the engine says of the prompt that it read, told anew and apart from the proxy's own reading."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

WORDS = "the engine's own words"
"""What every answer of a target says; a client may see it only where the answer confirms the prompt."""

OPENING = ("response.created", "response.queued", "response.in_progress")

_TOKEN_IDS = re.compile(rb'("(?:prompt_)?token_ids": ?)\[[\d,\s]*\]')


def confirms(path: str, data: bytes | str, ids: list[int]) -> bool:
    """Whether an answer, or an event's data, has the word that a prompt of these ids was read.

    On /v1/responses a stream opens without that word, which is due at its end.
    """
    found = decoded(data)
    if path == "/v1/chat/completions":
        return bool(found.get("prompt_token_ids") == ids)
    if path == "/v1/completions":
        choices = found.get("choices")
        each = (
            [one.get("prompt_token_ids") for one in choices if isinstance(one, dict)]
            if isinstance(choices, list)
            else []
        )
        return bool(each) and all(one == ids for one in each)
    if path == "/v1/messages":
        message = found.get("message") if found.get("type") == "message_start" else found
        usage = message.get("usage") if isinstance(message, dict) else None
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        counts = [usage.get(name) or 0 for name in names] if isinstance(usage, dict) else []
        return all(type(count) is int for count in counts) and sum(counts) == len(ids)
    if found.get("type") in OPENING:
        return True
    return confirms_responses(found, ids)


def confirms_responses(found: dict[str, Any], ids: list[int]) -> bool:
    """Whether a response, or the event that ends a stream of one, echoes the ids."""
    response = found.get("response") if "type" in found else found
    messages = response.get("input_messages") if isinstance(response, dict) else None
    return (
        isinstance(messages, list)
        and len(messages) == 1
        and isinstance(messages[0], dict)
        and messages[0].get("tokens") == ids
    )


def fails(data: bytes | str) -> bool:
    """Whether an answer, or an event's data, says that the engine failed."""
    found = decoded(data)
    return bool(found.get("error")) or found.get("type") in ("error", "response.failed")


def only_fails(data: bytes | str) -> bool:
    """Whether an answer says that the engine failed, and nothing where generated text stands."""
    found = decoded(data)
    return fails(data) and not any(found.get(name) for name in ("choices", "content", "output"))


def decoded(data: bytes | str) -> dict[str, Any]:
    """A JSON object; empty where there is none."""
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def events(stream: bytes) -> Iterator[tuple[str, bytes]]:
    """Name and data of each event that has data, as the standard has it; the last counts even if it is unfinished."""
    lines = stream.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    name, data = "", list[bytes]()
    for line in [*lines, b""]:
        key, _, value = line.partition(b":")
        if not line:
            if any(data):  # empty data make no event
                yield name, b"\n".join(data)
            name, data = "", []
        elif key == b"data":
            data.append(value.removeprefix(b" "))
        elif key == b"event":
            name = value.removeprefix(b" ").decode("latin-1")


def comparable(data: bytes, *, strip: bool) -> Any:
    """JSON with numbers as they are written and names in their order; without what only the proxy asked for, on demand.

    Args:
        data: JSON; anything else stays as it is.
        strip: Whether token ids count as null.
    """
    try:
        found = json.loads(data, object_pairs_hook=_Pairs, parse_float=str, parse_int=str, parse_constant=str)
    except (ValueError, RecursionError):
        return _TOKEN_IDS.sub(rb"\1null", data) if strip else data
    if strip and isinstance(found, _Pairs):
        return _Pairs(_stripped(name, value, found) for name, value in found)
    return found


class _Pairs(list[Any]):
    """An object's members, in order."""


def _stripped(name: str, value: Any, of: _Pairs) -> tuple[str, Any]:
    if name in ("prompt_token_ids", "input_messages", "output_messages"):
        return name, None
    if name == "choices" and isinstance(value, list) and not isinstance(value, _Pairs):
        return name, [
            _Pairs((key, None if key in ("token_ids", "prompt_token_ids") else each) for key, each in choice)
            if isinstance(choice, _Pairs)
            else choice
            for choice in value
        ]
    if name == "response" and isinstance(value, _Pairs):
        return name, _Pairs(
            (key, None if key in ("input_messages", "output_messages") else each) for key, each in value
        )
    return name, value
