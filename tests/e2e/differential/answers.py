"""What two answers to one request have in common: their bytes, their words, and the shape of their fields."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

_IDS = re.compile(rb'"(id|request_id)": ?"(chatcmpl|call|cmpl|resp|msg|rs|fc)[-_][^"]*"')
_TIMES = re.compile(rb'"(created|created_at|completed_at)": ?[\d.]+')


def settled(body: bytes) -> bytes:
    """The body without ids and times."""
    return _TIMES.sub(rb'"\1":0', _IDS.sub(rb'"\1":""', body))


def events(stream: bytes) -> list[dict[str, Any]]:
    """The decoded data of a stream's events, without the mark of its end."""
    lines = (line.removeprefix(b"data: ") for line in stream.split(b"\n") if line.startswith(b"data: "))
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def joined(stream: bytes) -> dict[Any, Any]:
    """All that a stream said, by choice and field: how many tokens a chunk holds is the engine's chance."""
    said: dict[Any, Any] = defaultdict(str)
    for event in events(settled(stream)):
        for choice in event.get("choices", ()):
            for path, value in _leaves(choice, ()):
                key = (choice["index"], path)
                said[key] = said[key] + value if isinstance(value, str) and isinstance(said[key], str) else value
    return {key: value for key, value in said.items() if value not in ("", None)}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Texts and numbers by their path; members of lists as if they were one, each list as a text."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves(member, (*path, key))
    elif isinstance(value, list) and all(isinstance(member, dict) for member in value):
        for member in value:
            yield from _leaves(member, (*path, "[]"))
    else:
        parts = value if isinstance(value, list) else [value] if path[-1:] in (("token",), ("logprob",)) else None
        yield path, value if parts is None else "".join(f"{part}, " for part in parts)


def shape(value: Any, path: str = "") -> set[str]:
    """The paths of all fields; those of a list's members are taken together, and so are members named by token ids."""
    if isinstance(value, dict):
        named = (("#" if key.isdigit() else key, member) for key, member in value.items())
        return {path}.union(*(shape(member, f"{path}.{key}") for key, member in named))
    if isinstance(value, list):
        return {path}.union(*(shape(member, f"{path}[]") for member in value))
    return {path}
