"""Splits a suite in two: what variants are chosen on, and what they are then measured on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Question, Suite


def split(suite: Suite, seed: int, share: float) -> tuple[Suite, Suite]:
    """A development and a held-out part, with no cluster on both sides.

    Clusters are drawn theme by theme, and apart for those that begin with a question of another cell, so that both
    parts have the same mixture. An equal seed gives equal parts, on any machine.

    Args:
        suite: What to split.
        seed: Of the draw.
        share: Of the clusters that become the development part: above 0, below 1.

    Returns:
        `(development, held_out)`; questions stay in the suite's order.

    Raises:
        InvalidSuite: One of the parts would be empty.
        ValueError: The share is out of its range.
    """
    if not 0 < share < 1:
        raise ValueError(f"share is {share!r}; it takes a number above 0 and below 1")
    chosen: set[str] = set()
    seen = 0
    for clusters in _strata(suite.questions):
        seen += len(clusters)
        # Rounded over all strata so far, so that many small ones do not add their roundings up.
        wanted = round(share * seen) - len(chosen)
        chosen |= set(sorted(clusters, key=lambda cluster: _order(seed, cluster))[:wanted])
    if len(chosen) in (0, seen):
        raise InvalidSuite(
            f"the suite {suite.name!r} has {seen} independent questions, and a share of {share} leaves one part empty."
        )
    development = tuple(question for question in suite.questions if question.group in chosen)
    held_out = tuple(question for question in suite.questions if question.group not in chosen)
    return (
        Suite(name=f"{suite.name}/development", questions=development),
        Suite(name=f"{suite.name}/held-out", questions=held_out),
    )


def _strata(questions: Iterable[Question]) -> Iterable[list[str]]:
    """Clusters by cell and theme of their first question."""
    known: set[str] = set()
    strata: dict[tuple[str, str], list[str]] = {}
    for question in questions:
        if question.group not in known:
            known.add(question.group)
            strata.setdefault((question.cell, question.theme), []).append(question.group)
    return strata.values()


def _order(seed: int, cluster: str) -> bytes:
    return hashlib.sha256(f"{seed}:{cluster}".encode()).digest()
