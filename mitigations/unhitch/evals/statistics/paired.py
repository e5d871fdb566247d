"""A strategy against passthrough, question by question."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unhitch.evals.statistics.clustered import Clustered, check_bounds, clustered, effective_number, few_bearers
from unhitch.evals.statistics.student import quantile, upper_tail
from unhitch.evidence.pool import Rate
from unhitch.intervals import wilson


@dataclass(frozen=True, slots=True)
class Difference:
    """A mean difference, strategy less passthrough. All but the count is None where no question has both.

    Args:
        value: In the measure's units.
        low: Lower end of the 95% interval.
        high: Upper end.
        p: Two-sided, of no difference: at most 0.05 exactly where 0 lies outside the interval (or on its end).
        count: Pairs that it is taken over.
        error: Standard error.
        degrees: Degrees of freedom of Student's t.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    count: int = 0
    error: float | None = None
    degrees: int | None = None

    @property
    def rate(self) -> Rate:
        """Value, interval and count, as scorecards hold them."""
        return Rate(value=self.value, low=self.low, high=self.high, count=self.count)

    def upper_p(self, threshold: float) -> float | None:
        """One-sided p of "no more than `threshold`", from 0 to 1: small where the difference is above it."""
        return None if self.value is None else self._tail(self.value - threshold)

    def lower_p(self, threshold: float) -> float | None:
        """One-sided p of "no less than `threshold`", from 0 to 1: small where the difference is below it."""
        return None if self.value is None else self._tail(threshold - self.value)

    def _tail(self, distance: float) -> float:
        if not self.error:
            return 0.0 if distance > 0 else 0.5 if distance == 0 else 1.0
        return upper_tail(distance / self.error, self.degrees or 1)


def compare(
    strategy: NDArray[np.float64],
    passthrough: NDArray[np.float64],
    clusters: NDArray[np.intp],
    *,
    top: float | None = 1.0,
) -> Difference:
    """The mean paired difference with a 95% interval and a p value that agrees with it.

    Student's t with the cluster-robust error, which is the limit of the cluster bootstrap's error without its noise:
    of the methods tried, the bootstrap-t included, it covers 95% most nearly where few answers differ
    (`tests/benchmarks/coverage.py`). Where all pairs differ alike, or not at all, the interval reaches as far to both
    sides as Wilson's for 0 of as many trials as there are clusters: so many clusters in which all answers are otherwise
    could have been missed.

    Args:
        strategy: `[questions, draws]`, float64, NaN where there is none.
        passthrough: The same questions and draws without mitigation.
        clusters: The cluster of each question: `[questions]`.
        top: The largest value there can be, where 0 is the smallest: 1 for shares, 100 for scores; None without one.
            It bounds the interval, and is its scale where all pairs differ alike (without it, the range of the values
            is).

    Raises:
        ValueError: The shapes do not fit, or a value lies outside 0 to `top`.

    Source: cluster-robust t: Cameron and Miller, Journal of Human Resources 50 (2015), sections II and VI.
    """
    sums = clustered(differences(strategy, passthrough), clusters)
    if not sums.count:
        return Difference(None)
    least, most = _range(strategy, passthrough)
    check_bounds(least, most, top)
    degrees = max(1, sums.size - 1)
    reach = quantile(0.975, degrees)
    error = _error(sums, most - least if top is None else top, reach)
    bound = np.inf if top is None else top
    return Difference(
        value=sums.mean,
        low=max(-bound, sums.mean - reach * error),
        high=min(bound, sums.mean + reach * error),
        p=min(1.0, 2 * upper_tail(abs(sums.mean) / error, degrees)) if error else float(sums.mean == 0),
        count=sums.count,
        error=error,
        degrees=degrees,
    )


def differences(strategy: NDArray[np.float64], passthrough: NDArray[np.float64]) -> NDArray[np.float64]:
    """Strategy less passthrough, paired: `[questions, draws]`, float64, NaN where there is no pair.

    Draws that both have are paired with each other. A question of which both have answers, but of no common draw,
    counts as one pair: the difference of its means, in the first column.

    Args:
        strategy: `[questions, draws]`, float64, NaN where there is none.
        passthrough: The same.

    Raises:
        ValueError: The shapes differ.
    """
    if strategy.shape != passthrough.shape or strategy.ndim != 2:
        raise ValueError(
            f"a table of shape {strategy.shape} cannot be paired with one of shape {passthrough.shape}: both must be "
            "[questions, draws] of the same questions"
        )
    paired = strategy - passthrough
    apart = np.isnan(paired).all(axis=1) & ~np.isnan(strategy).all(axis=1) & ~np.isnan(passthrough).all(axis=1)
    paired[apart, 0] = np.nanmean(strategy[apart], axis=1) - np.nanmean(passthrough[apart], axis=1)
    return paired


def _range(strategy: NDArray[np.float64], passthrough: NDArray[np.float64]) -> tuple[float, float]:
    return (
        float(min(np.nanmin(strategy), np.nanmin(passthrough))),
        float(max(np.nanmax(strategy), np.nanmax(passthrough))),
    )


def _error(sums: Clustered, scale: float, reach: float) -> float:
    if sums.size < 2:
        return scale
    if not sums.variance:
        return scale * wilson(0, sums.size).high / reach
    return math.sqrt(sums.variance * few_bearers(effective_number(sums.totals), sums.size))
