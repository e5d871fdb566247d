"""Choices read off a row of bytes: hypothesis makes the row, and shrinks it; made so, an input costs microseconds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

T = TypeVar("T")

_CHARACTERS = 'a Z0."\\/<|>{}[]:,;=\n\t\r\0\x7f\x85\xa0\xe9\u0301\u200b\u2028\ufeff\ufffd\U0001f3e5'


class Tape:
    """Bytes that are read once; behind their end there are zeros, which stand for the simplest of all choices.

    Args:
        raw: The bytes.
    """

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    def bytes(self, size: int) -> bytes:
        """The next bytes, as they are."""
        found = self._raw[self._at : self._at + size]
        self._at += size
        return found

    def number(self, most: int) -> int:
        """A number from 0 to `most`."""
        size = (most.bit_length() + 7) // 8
        return int.from_bytes(self.bytes(size), "big") % (most + 1)

    def one(self, options: Sequence[T]) -> T:
        """One of several."""
        return options[self.number(len(options) - 1)]

    def rarely(self, often: int) -> bool:
        """True once in `often` times."""
        return self.number(often - 1) == often - 1

    def some(self, most: int, make: Callable[[Tape], T], least: int = 0) -> list[T]:
        """A few things."""
        return [make(self) for _ in range(least + self.number(most - least))]

    def text(self, most: int = 8) -> str:
        """Characters that somebody may read otherwise."""
        return "".join(self.one(_CHARACTERS) for _ in range(self.number(most)))


def taped(make: Callable[[Tape], T], size: int = 160) -> SearchStrategy[T]:
    """What is made of rows of `size` bytes."""
    return st.binary(min_size=size, max_size=size).map(lambda raw: make(Tape(raw)))
