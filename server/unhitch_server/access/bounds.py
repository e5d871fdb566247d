"""How large and how deep a request may be, seen before any of it is decoded."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from unhitch.errors import HeadersTooLarge, InvalidBody

MOST_HEADER_BYTES = 65_536
MOST_HEADER_LINES = 256
MOST_DEPTH = 128
"""Deeper than any schema of a tool; Python's reader of JSON gives up at about a thousand."""
MOST_MESSAGES = 4096

_LISTS = ("messages", "input")
"""Members that hold a conversation: of chat and Anthropic's messages, and of responses."""

_SLICE = 2**20
_QUOTE = ord('"')
_PLAIN = bytes(set(range(256)) - set(b'"[]{}'))
_STEPS = np.zeros(256, dtype=np.int32)
_STEPS[list(b"[{")], _STEPS[list(b"]}")] = 1, -1


def check_headers(headers: Iterable[tuple[bytes, bytes]], most_bytes: int, most_lines: int) -> None:
    """Refuses too many header lines, or too many bytes of them.

    Raises:
        HeadersTooLarge: There are more than allowed.
    """
    lines = size = 0
    for name, value in headers:
        lines += 1
        size += len(name) + len(value)
    if lines > most_lines or size > most_bytes:
        raise HeadersTooLarge(
            f"the request has {lines} header lines of {size} bytes; {most_lines} lines and {most_bytes} bytes are read"
        )


def check_depth(body: bytes, most: int = MOST_DEPTH) -> None:
    """Refuses a body whose arrays and objects are nested too deeply, without decoding it.

    Up to the first place where a body is no JSON, the depth found is that which a decoder would come to.

    Args:
        body: JSON in UTF-8.
        most: Levels that are allowed.

    Raises:
        InvalidBody: There are more, or the body is in another encoding than JSON on the network may be.
    """
    if json.detect_encoding(body) not in ("utf-8", "utf-8-sig"):
        raise InvalidBody("the body is not in UTF-8, as JSON has to be")
    if _deepest(body) > most:
        raise InvalidBody(f"the body is nested more than {most} levels deep, which is the most that is read")


def check_messages(fields: Mapping[str, Any], most: int = MOST_MESSAGES) -> None:
    """Refuses a conversation of too many messages.

    Args:
        fields: The decoded body.
        most: Messages that are allowed.

    Raises:
        InvalidBody: There are more.
    """
    for name in _LISTS:
        value = fields.get(name)
        if isinstance(value, list) and len(value) > most:
            raise InvalidBody(f"{name} has {len(value)} entries; {most} are the most that are read", param=name)


def _deepest(body: bytes) -> int:
    """The deepest nesting: bytes that say nothing of it are dropped first, which for text leaves next to nothing."""
    # Backslashes go in pairs, from the left: then whatever quote still has one before it stands within a string.
    rest = body.replace(b"\\\\", b"").replace(b'\\"', b"").translate(None, _PLAIN)
    deepest = depth = quotes = 0
    for start in range(0, len(rest), _SLICE):
        signs = np.frombuffer(rest, dtype=np.uint8, count=min(_SLICE, len(rest) - start), offset=start)
        seen = np.cumsum(signs == _QUOTE, dtype=np.int32) + quotes
        depths = np.cumsum(np.where(seen % 2 == 0, _STEPS[signs], 0), dtype=np.int32) + depth
        deepest = max(deepest, int(depths.max()))
        depth, quotes = int(depths[-1]), int(seen[-1]) % 2
    return deepest
