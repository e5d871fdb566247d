"""Reads and replaces members of JSON text in place, so that every byte that needs no change stays as it came.

Parsing and dumping a body anew rewrites numbers (`1e2`), drops duplicate keys and reorders nothing but changes
whitespace; a splice touches only the members it names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from json.decoder import JSONDecoder
from typing import NamedTuple

from unhitch.errors import InvalidBody

_WHITESPACE = " \t\n\r"
_scan = JSONDecoder().raw_decode


class Member(NamedTuple):
    """One member of a JSON object: where its key, its value and its end stand in the text."""

    key: str
    start: int
    value_start: int
    stop: int


def members(text: str, start: int = 0) -> Iterator[Member]:
    """The members of the object that begins at `start` (whitespace before it is skipped), duplicates included.

    Raises:
        InvalidBody: There is no well-formed JSON object; the message names the character.
    """
    position = _expect(text, _skip(text, start), "{")
    position = _skip(text, position)
    if text[position : position + 1] == "}":
        return
    while True:
        key, after_key = _value(text, position)
        if not isinstance(key, str):
            raise InvalidBody(f"malformed JSON at character {position}: a member's name must be a string")
        value_start = _skip(text, _expect(text, _skip(text, after_key), ":"))
        _, stop = _value(text, value_start)
        yield Member(key, position, value_start, stop)
        position = _skip(text, stop)
        if text[position : position + 1] == "}":
            return
        position = _skip(text, _expect(text, position, ","))


def elements(text: str, start: int) -> Iterator[tuple[int, int]]:
    """Start and end of each element of the array that begins at `start`.

    Raises:
        InvalidBody: There is no well-formed JSON array.
    """
    position = _skip(text, _expect(text, _skip(text, start), "["))
    if text[position : position + 1] == "]":
        return
    while True:
        _, stop = _value(text, position)
        yield position, stop
        position = _skip(text, stop)
        if text[position : position + 1] == "]":
            return
        position = _skip(text, _expect(text, position, ","))


def put(text: str, values: Mapping[str, str]) -> str:
    """The object with members set: replaced where the name stands (the last, others of the name go), else appended.

    Args:
        text: A JSON object.
        values: JSON text by member name.

    Raises:
        InvalidBody: `text` is no JSON object.
    """
    found = list(members(text))
    last = {member.key: index for index, member in enumerate(found)}
    edits: list[tuple[int, int, str]] = []
    for index, member in enumerate(found):
        if member.key in values:
            if last[member.key] == index:
                edits.append((member.value_start, member.stop, values[member.key]))
            else:  # a name can stand twice; readers take the last, so the others go with their comma
                edits.append((member.start, found[index + 1].start, ""))
    missing = {key: value for key, value in values.items() if key not in last}
    if missing:
        end = found[-1].stop if found else text.index("{") + 1
        new = ",".join(f'"{key}":{value}' for key, value in missing.items())
        edits.append((end, end, f",{new}" if found else new))
    return apply(text, edits)


def without(text: str, name: str) -> str:
    """The object without the members of a name; what stands between the others stays as it is.

    Args:
        text: A JSON object, and nothing behind it.
        name: A member's name.

    Raises:
        InvalidBody: `text` is no JSON object.
    """
    found = list(members(text))
    if all(member.key != name for member in found):
        return text
    pieces: list[str] = []
    for index, member in enumerate(found):
        if member.key != name:
            pieces += [text[found[index - 1].stop : member.start]] if pieces else []
            pieces.append(text[member.start : member.stop])
    return "".join([text[: found[0].start], *pieces, text[found[-1].stop :]])


def apply(text: str, edits: list[tuple[int, int, str]]) -> str:
    """The text with each `(start, stop, replacement)` made; the ranges are in order and do not overlap."""
    pieces, position = [], 0
    for start, stop, replacement in edits:
        pieces += [text[position:start], replacement]
        position = stop
    pieces.append(text[position:])
    return "".join(pieces)


def _value(text: str, position: int) -> tuple[object, int]:
    try:
        return _scan(text, position)
    except (ValueError, RecursionError) as error:
        raise InvalidBody(f"malformed JSON at character {position}: {error}") from error


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _WHITESPACE:
        position += 1
    return position


def _expect(text: str, position: int, character: str) -> int:
    if text[position : position + 1] != character:
        found = repr(text[position]) if position < len(text) else "the end"
        raise InvalidBody(f"malformed JSON at character {position}: {character!r} expected, found {found}")
    return position + 1
