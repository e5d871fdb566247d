"""What a search tries: edits of many kinds, each with its seed, so that it always gives the same prefix."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, count, islice, zip_longest
from typing import Literal

from unhitch.editing.system_presets import PRESETS

EDITS = (10, 5, 20, 3)
"""Tokens that perturbations replace; the paper's number first."""

Span = Literal["prefix", "postfix"]


def variants(number: int, span: Span = "prefix", seed: int = 0) -> tuple[str, ...]:
    """Different edits to try, as values of the Unhitch-Mitigation header: the kinds by turns, then perturbations.

    Args:
        number: How many, at least 1.
        span: Where the model's misalignment sits; only perturbations reach the postfix.
        seed: The first seed.
    """
    perturbed = (f"perturb;edits={EDITS[n % len(EDITS)]};span={span};seed={seed + n}" for n in count())
    if span == "postfix":
        return tuple(islice(perturbed, number))
    presets = (f"system;preset={name}" for name in PRESETS)
    single = ["bare", f"recase;mode=swap;seed={seed}", "recase;mode=upper", *presets]
    respaced = (f"respace;seed={seed + n}" for n in range(len(single)))
    kinds = zip_longest(single, respaced, islice(perturbed, len(single)))
    return tuple(islice(chain(_flat(kinds), perturbed), number))


def _flat(rows: Iterator[tuple[str, ...]]) -> Iterator[str]:
    return (each for row in rows for each in row if each is not None)
