"""Sums over clusters: all that an error over clustered answers needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_ROUNDING = 1e-12
"""Squared deviations below this part of the squared totals are rounding, not variation."""

_SLACK = 1e-9
"""How far a value may lie outside its bounds, in parts of the upper one: weighted scores are rounded too."""


@dataclass(frozen=True)
class Clustered:
    """A table of answers, summed over the questions of each cluster.

    Args:
        totals: Sum of the values, `[clusters]`, float64.
        counts: How many values, at least 1, `[clusters]`, float64.
    """

    totals: NDArray[np.float64]
    counts: NDArray[np.float64]

    @property
    def size(self) -> int:
        """How many clusters have a value."""
        return len(self.counts)

    @property
    def count(self) -> int:
        """How many values there are."""
        return int(self.counts.sum())

    @property
    def mean(self) -> float:
        """The mean over all values; there must be one."""
        return float(self.totals.sum() / self.counts.sum())

    @property
    def deviations(self) -> NDArray[np.float64]:
        """Each cluster's total less what the mean over all makes of its count: `[clusters]`, float64."""
        return self.totals - self.mean * self.counts

    @property
    def variance(self) -> float:
        """Variance of the mean, if whole clusters are what was drawn; 0 where the data show no variation.

        Source: Taylor linearisation of a ratio, with the factor clusters / (clusters - 1): Cochran, Sampling
        Techniques (1977), section 6.3; the CR1 variance of a regression on a constant.
        """
        if self.size < 2:
            return 0.0
        summed = float(np.square(self.deviations).sum())
        scale = float(np.square(self.totals).sum())
        if summed <= _ROUNDING * scale:
            return 0.0
        return self.size / (self.size - 1) * summed / float(self.counts.sum()) ** 2


def clustered(values: NDArray[np.float64], clusters: NDArray[np.intp]) -> Clustered:
    """Sums a table over its clusters. Clusters without a value are left out.

    Args:
        values: `[questions, draws]`, float64, NaN where there is none.
        clusters: The cluster of each question, any whole numbers: `[questions]`.

    Raises:
        ValueError: The shapes do not fit, or a value is infinite.
    """
    if values.ndim != 2 or clusters.shape != values.shape[:1]:
        raise ValueError(
            f"values of shape {values.shape} with clusters of shape {clusters.shape}: expected [questions, draws] "
            "and [questions]"
        )
    if np.isinf(values).any():
        raise ValueError("a value is infinite; values are finite, or NaN where there is none")
    there = ~np.isnan(values)
    _, index = np.unique(clusters, return_inverse=True)
    totals = np.bincount(index, weights=np.where(there, values, 0.0).sum(axis=1)).astype(np.float64)
    counts = np.bincount(index, weights=there.sum(axis=1)).astype(np.float64)
    return Clustered(totals[counts > 0], counts[counts > 0])


def check_bounds(least: float, most: float, top: float | None) -> None:
    """Refuses values outside 0 to `top`.

    Args:
        least: The smallest value.
        most: The largest value.
        top: The upper bound; None where there is none, and then nothing is refused.

    Raises:
        ValueError: They lie outside.
    """
    if top is not None and (least < -_SLACK * top or most > top * (1 + _SLACK)):
        raise ValueError(
            f"values from {least:g} to {most:g} do not lie between 0 and {top:g}; pass top=100 for scores, and "
            "top=None for what has no bound"
        )


def effective_number(amounts: NDArray[np.float64]) -> float:
    """Among how many an amount is spread: their number where all hold as much, 1 where one holds all, 0 of nothing.

    Args:
        amounts: `[clusters]`, float64; signs do not matter.

    Source: Kish, Survey Sampling (1965), section 11.7: (sum)^2 / sum of squares.
    """
    squares = float(np.square(amounts).sum())
    return float(np.abs(amounts).sum()) ** 2 / squares if squares > 0 else 0.0


def few_bearers(spread: float, clusters: int) -> float:
    """The factor by which to raise a variance that only some of the clusters bear: at least 1.

    Where a few clusters hold all that varies, the measured variance is mostly too small, and smallest where the mean is
    furthest off. Raising it by 1/spread, less the 1/clusters that Student's quantile accounts for, brings intervals
    back to 95%; the factor was chosen by simulation (`tests/benchmarks/coverage.py`).

    Args:
        spread: The effective number of clusters that hold something, above 0 and at most `clusters`.
        clusters: All clusters.
    """
    return 1 + 1 / spread - 1 / clusters
