"""The draw: the one source of chance in a strategy, keyed so that it can be made again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

MAX_SEED = 999_999_999_999_999
"""Largest seed: the largest integer that a structured header can hold (RFC 9651, 3.3.1)."""


@dataclass(frozen=True, slots=True)
class Draw:
    """A reproducible source of chance.

    Equal seeds give equal draws in every process and on every machine: only `random.Random.random`, whose sequence
    Python guarantees, is used.

    Args:
        seed: From 0 to `MAX_SEED`.
    """

    seed: int

    @classmethod
    def from_text(cls, text: str) -> Draw:
        """The draw that belongs to a session or to the start of a conversation."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        return cls(int.from_bytes(digest[:8], "big") % (MAX_SEED + 1))

    def stream(self, label: str) -> Stream:
        """A stream of chance of its own for one strategy.

        Args:
            label: Keeps strategies that share a seed apart; use the strategy's name.
        """
        return Stream(random.Random(f"{label}:{self.seed}"))


class Stream:
    """Choices from one stream of chance."""

    def __init__(self, source: random.Random) -> None:
        self._source = source

    def below(self, limit: int) -> int:
        """An integer from 0 to `limit - 1`; `limit` is at least 1."""
        return int(self._source.random() * limit)

    def choice(self, items: Sequence[T]) -> T:
        """One of `items`, which is not empty."""
        return items[self.below(len(items))]

    def sample(self, items: Sequence[T], count: int) -> list[T]:
        """`count` different items, or all of them where there are fewer, in the order of the draw."""
        pool = list(items)
        return [pool.pop(self.below(len(pool))) for _ in range(min(count, len(pool)))]
