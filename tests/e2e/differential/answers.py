"""What two answers to one request have in common: their bytes, their words, and the shape of their fields."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import httpx

_IDS = re.compile(
    rb'"(id|request_id|item_id|call_id)": ?"(chatcmpl|call|cmpl|resp|msg|rs|fc|toolu|modelperm)[-_][^"]*"'
)
_SIGNATURES = re.compile(rb'"(signature)": ?"[0-9a-f]{32}"')
_CACHED = re.compile(rb'"(cached_tokens|cache_write_tokens)": ?\d+')
_TIMES = re.compile(rb'"(created|created_at|completed_at)": ?[\d.]+')
_MARKS = re.compile(rb"(?:^|\n\n)(event: .*|data: \[DONE\]|data: )")

_PLACES = ("type", "index", "output_index", "content_index")
"""What an event that has a type says of its place."""


def settled(body: bytes) -> bytes:
    """The body without ids and times, nor how much of the prompt the engine still knew from others."""
    for pattern in (_IDS, _SIGNATURES, _TIMES, _CACHED):
        body = pattern.sub(rb'"\1":null', body)
    return body


def is_stream(answer: httpx.Response) -> bool:
    """Whether an answer came as events."""
    return answer.headers["content-type"].startswith("text/event-stream")


def events(stream: bytes) -> list[dict[str, Any]]:
    """The decoded data of a stream's events, without the mark of its end."""
    lines = (line.removeprefix(b"data: ") for line in stream.split(b"\n") if line.startswith(b"data: "))
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def joined(stream: bytes) -> dict[Any, Any]:
    """All that a stream said, by place and field: how many tokens an event holds is the engine's chance.

    The names of the events and the mark of the end are told in their order, those that follow their like but once.
    """
    said: dict[Any, Any] = defaultdict(str)
    said[None, ("order",)] = tuple(mark for mark, _ in groupby(_MARKS.findall(stream)))
    for event in events(settled(stream)):
        for place, part in _parts(event):
            for path, value in _leaves(part, ()):
                key = (place, path)
                joins = isinstance(value, str) and isinstance(said[key], str) and path[-1] != "type"
                said[key] = said[key] + value if joins else value
    return {key: value for key, value in said.items() if value not in ("", None)}


def _parts(event: dict[str, Any]) -> Iterator[tuple[Any, Any]]:
    """What an event says, each with its place: of chat and completions the choices and the usage, else all of it."""
    if "type" in event:
        yield tuple(event.get(name) for name in _PLACES), {**event, "sequence_number": None}
        return
    for choice in event.get("choices", ()):
        yield choice["index"], choice
    yield None, {"usage": event.get("usage"), "error": event.get("error")}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Texts and numbers by their path; members of lists as if they were one, each list as a text."""
    if isinstance(value, dict):
        for key, member in value.items():
            yield from _leaves(member, (*path, key))
    elif isinstance(value, list) and all(isinstance(member, dict) for member in value):
        for member in value:
            yield from _leaves(member, (*path, "[]"))
    else:
        parts = value if isinstance(value, list) else [value] if "logprobs" in path[:-1] else None
        yield path, value if parts is None else "".join(f"{part}, " for part in parts)


def told(answer: httpx.Response, name: str) -> str:
    """The texts of all fields of a name, wherever they stand."""
    if is_stream(answer):
        found = [(path, text) for (_, path), text in joined(answer.content).items()]
    else:
        found = list(_leaves(answer.json(), ()))
    return "".join(text for path, text in found if path[-1] == name and isinstance(text, str))


def shape(value: Any, path: str = "") -> set[str]:
    """The paths of all fields; those of a list's members are taken together, and so are members named by tokens."""
    if isinstance(value, dict):
        by_token = path.endswith(".top_logprobs[]") and "token" not in value
        named = (("#" if by_token or key.isdigit() else key, member) for key, member in value.items())
        return {path}.union(*(shape(member, f"{path}.{key}") for key, member in named))
    if isinstance(value, list):
        return {path}.union(*(shape(member, f"{path}[]") for member in value))
    return {path}


def shapes(answer: httpx.Response) -> set[str]:
    """Those of a whole answer, or of all events of a stream by their types."""
    if not is_stream(answer):
        return shape(answer.json())
    return set().union(*(shape(event, event.get("type", "")) for event in events(answer.content)))
