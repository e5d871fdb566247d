"""Harmless damage to a prefix, which pretraining shows so that the base model is not thrown by it."""

import random
from collections.abc import Sequence

PUNCTUATION = ".,:;!?"


def recase(text: str, rng: random.Random) -> str:
    """Changes the case of letters: all upper, all lower, or each flipped with a chance drawn for the whole text."""
    kind = rng.random()
    if kind < 0.2:
        return text.upper()
    if kind < 0.4:
        return text.lower()
    share = rng.uniform(0.05, 0.6)
    return "".join(letter.swapcase() if rng.random() < share else letter for letter in text)


def respace(text: str, rng: random.Random) -> str:
    """Doubles spaces, doubles or drops newlines, drops or spaces out punctuation, each with a chance for the text."""
    share = rng.choice((0.1, 0.3, 0.6, 1.0))
    return "".join(_respaced(letter, rng) if rng.random() < share else letter for letter in text)


def _respaced(letter: str, rng: random.Random) -> str:
    if letter == " ":
        return "  "
    if letter == "\n":
        return rng.choice(("\n\n", "", " ", "\n "))
    if letter in PUNCTUATION:
        return rng.choice(("", f" {letter}", f"{letter} ", f" {letter} "))
    return letter


def replace_tokens(
    ids: Sequence[int], edits: int, neighbours: Sequence[Sequence[int]], rng: random.Random
) -> list[int]:
    """Replaces `edits` tokens at places drawn without replacement, each by one of its neighbours.

    Args:
        ids: Token ids.
        edits: How many to replace, at most all of them.
        neighbours: For each id of the vocabulary, the ids that may stand in for it.
        rng: Source of the draw.
    """
    edited = list(ids)
    for place in rng.sample(range(len(edited)), min(edits, len(edited))):
        edited[place] = rng.choice(neighbours[edited[place]])
    return edited
