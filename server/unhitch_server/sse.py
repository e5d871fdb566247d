"""Splits a stream of server-sent events at its blank lines without holding anything back."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable

from unhitch.errors import EngineError

_BLANK_LINE = re.compile(rb"(?:\r\n|\n|\r(?!\n)){2}")
_LONGEST_EVENT = 256 * 2**20


async def events(chunks: AsyncIterator[bytes]) -> AsyncIterator[list[bytes]]:
    """The events that each chunk completes, each as its own bytes, the blank line included.

    Joined together they are the bytes that came in. What stands after the last blank line comes last, as it is.

    Raises:
        EngineError: An event does not end within 256 MiB.
    """
    held = bytearray()
    async for chunk in chunks:
        # A blank line may begin in what is held; what lies further back has been searched already.
        searched = max(0, len(held) - 4)
        held += chunk
        complete, start = [], 0
        settled = len(held) - held.endswith(b"\r")  # a line feed may follow
        for match in _BLANK_LINE.finditer(held, searched, settled):
            complete.append(bytes(held[start : match.end()]))
            start = match.end()
        if complete:
            del held[:start]
            yield complete
        if len(held) > _LONGEST_EVENT:
            raise EngineError(f"the engine sent {len(held)} bytes of a stream without the end of an event")
    if held:
        yield [bytes(held)]


def data(event: bytes) -> bytes | None:
    """The event's data, or None where it has none (a comment, such as a keep-alive) or they are empty."""
    lines = [line[5:].removeprefix(b" ") for line in event.splitlines() if _has_data(line)]
    return b"\n".join(lines) or None


def map_data(event: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """The event with its data changed; all else, and an event without data, as it came.

    Args:
        event: Any event.
        change: Gives the new data.
    """
    old = data(event)
    if old is None:
        return event
    new = change(old)
    if new == old:
        return event
    lines = event.splitlines(keepends=True)
    first = next(index for index, line in enumerate(lines) if _has_data(line))
    ending = lines[first][len(lines[first].rstrip(b"\r\n")) :]
    if ending == b"\r":  # with the line feed of a blank line behind it, that would be one end of a line, not two
        ending = b"\n"
    changed = [b"data: " + line + ending for line in new.split(b"\n")]
    kept = [line for line in lines[first + 1 :] if not _has_data(line)]
    return b"".join([*lines[:first], *changed, *kept])


def _has_data(line: bytes) -> bool:
    return line.startswith(b"data:") or line.rstrip(b"\r\n") == b"data"
