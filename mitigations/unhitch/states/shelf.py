"""The states that an engine can serve to one of its models, and the choice of the one that fits a prompt."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from unhitch.states.file import SpanName, StateHeader
from unhitch.states.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Card:
    """A state as the engine lists it.

    Args:
        id: Digest of its file.
        header: What it is.
    """

    id: str
    header: StateHeader


@dataclass(frozen=True)
class Shelf:
    """What one served model can be patched with; keep it, for it is indexed when a state is first looked for.

    Args:
        cards: All states of the engine.
        digest: Of the served model: the adapter's, or the checkpoint's.
        base_digest: Of the checkpoint that the adapter sits on; None for what is no adapter.
    """

    cards: tuple[Card, ...]
    digest: str
    base_digest: str | None = None

    def serves(self, header: StateHeader) -> bool:
        """Whether a state was made for this model: for itself, or from the base that its adapter sits on."""
        if header.finetuned is not None:
            return header.finetuned == self.digest
        return header.base == self.base_digest

    def find(
        self, span: SpanName, tokens: Sequence[int], start: int, recipe: Recipe, state: str | None = None
    ) -> Card | None:
        """The state for a span of a prompt; of several the one with the lowest id, so that all turns get the same.

        Args:
            span: Which span.
            tokens: Token ids from position 0 of the reference to the end of the span: the prefix, or the prefix and the
                postfix (a postfix's reference is an empty query).
            start: Where in `tokens` the span begins.
            recipe: How it must have been made.
            state: The id of the one that is asked for; None is any.

        Returns:
            A prefix's state may hold more tokens than are asked for: by causality the first ones do not depend on them.
        """
        wanted = tuple(tokens)
        compared = len(wanted) if span == "prefix" else None

        def key(card: Card) -> tuple[int, ...]:
            return card.header.tokens[:compared]

        row = self._rows.get((span, start, recipe), [])
        found = row[bisect_left(row, wanted, key=key) : bisect_right(row, wanted, key=key)]
        fitting = (card for card in found if state in (None, card.id))
        return min(fitting, key=lambda card: (len(card.header.tokens), card.id), default=None)

    @cached_property
    def _rows(self) -> Mapping[tuple[SpanName, int, Recipe], list[Card]]:
        """The cards for this model by span, start and recipe, each row in order of its cards' tokens."""
        rows: defaultdict[tuple[SpanName, int, Recipe], list[Card]] = defaultdict(list)
        for card in sorted(self.cards, key=lambda card: card.header.tokens):
            if self.serves(card.header):
                rows[card.header.span, card.header.start, card.header.recipe].append(card)
        return rows
