"""Figures of outcomes, and one outcome against another, with the scale that each figure has."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from unhitch.evals.arm import Outcome, clusters
from unhitch.evals.question import Question
from unhitch.evals.statistics.paired import Difference
from unhitch.evals.statistics.paired import compare as compare_tables
from unhitch.evals.statistics.rates import rate
from unhitch.evidence.pool import Rate

Table = NDArray[np.float64]

_TOPS: dict[str, float | None] = {"aligned": 100.0, "coherent": 100.0, "words": None}
"""The largest value of a figure; 1 where none is named."""


def top(what: str) -> float | None:
    """The largest value that a figure can have; None where there is no bound."""
    return _TOPS.get(what, 1.0)


def figure(outcome: Outcome | None, what: str) -> Rate:
    """A figure of all answers with its interval; see `Outcome.table`."""
    if outcome is None:
        return Rate(value=None)
    return rate(outcome.table(what), outcome.clusters, top=top(what))


def compare(strategy: Outcome, passthrough: Outcome, what: str) -> Difference:
    """A figure under a strategy less the same without, paired by question, and by draw where both have as many."""
    return compare_paired(strategy.table(what), passthrough.table(what), passthrough.arm.questions, top(what))


def compare_paired(
    strategy: Table, passthrough: Table, questions: tuple[Question, ...], limit: float | None = 1.0
) -> Difference:
    """The same of tables `[questions, draws]`, whose numbers of draws may differ."""
    if strategy.shape != passthrough.shape:
        strategy, passthrough = by_question(strategy), by_question(passthrough)
    return compare_tables(strategy, passthrough, clusters(questions), top=limit)


def by_question(table: Table) -> Table:
    """The mean of each question: `[questions, 1]`; NaN where it has no value."""
    known = ~np.isnan(table)
    counts = known.sum(axis=1)
    totals = np.where(known, table, 0.0).sum(axis=1)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.nan)[:, None]
