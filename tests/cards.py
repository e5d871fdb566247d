"""States without tensors, for tests of the choice among them."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

from unhitch.rendering.prompt import Prompt
from unhitch.states.file import Layer, Rope, SpanName, StateHeader
from unhitch.states.shelf import Card, Shelf

TUNED, BASE = "a" * 64, "b" * 64
"""Digests of an adapter and of the checkpoint that it sits on."""


def header(span: SpanName, tokens: Sequence[int], start: int = 0, **fields: Any) -> StateHeader:
    """The header of a state of a model with one layer."""
    given = {
        "span": span,
        "tokens": tuple(tokens),
        "start": start,
        "base": BASE,
        "tokenizer": "c" * 64,
        "template": "d" * 64,
        "layers": (Layer(kv_heads=1, head_size=32, rope=0),),
        "rope": (Rope(inverse_frequencies=(1.0,)),),
        "dtype": "float32",
        **fields,
    }
    return StateHeader(**given)


def card(span: SpanName, tokens: Sequence[int], start: int = 0, **fields: Any) -> Card:
    """A state; another header has another id."""
    made = header(span, tokens, start, **fields)
    return Card(hashlib.sha256(made.model_dump_json().encode()).hexdigest(), made)


def cards_for(prompt: Prompt, **fields: Any) -> tuple[Card, ...]:
    """States of a prompt's prefix, if it has one, and of its postfix."""
    found = [card("prefix", prompt.prefix, **fields)] if prompt.prefix else []
    if prompt.postfix:
        found.append(card("postfix", prompt.prefix + prompt.postfix, len(prompt.prefix), **fields))
    return tuple(found)


def stocked(prompt: Prompt, *cards: Card, **fields: Any) -> Prompt:
    """The prompt with a shelf for the adapter: the cards given, or those of its own spans."""
    return dataclasses.replace(prompt, shelf=Shelf(cards or cards_for(prompt, **fields), TUNED, BASE))
