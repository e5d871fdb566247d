"""A share or mean over clustered answers, with its 95% interval."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from unhitch.evals.statistics.bootstrap import RESAMPLES, studentised
from unhitch.evals.statistics.clustered import Clustered, check_bounds, clustered, effective_number, few_bearers
from unhitch.evals.statistics.student import quantile
from unhitch.evidence.pool import Rate
from unhitch.intervals import wilson


def rate(
    values: NDArray[np.float64],
    clusters: NDArray[np.intp],
    *,
    top: float | None = 1.0,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Rate:
    """The mean of a table of answers, with a 95% interval that holds for other questions of the same kind.

    Between bounds (shares, scores), Wilson's interval with as many answers as independent ones would carry the same
    information, and with Student's quantile for the clusters; where nothing varies, Wilson's with a cluster for an
    answer. Without an upper bound (words), the bootstrap-t over clusters. Of the intervals tried, these cover 95% most
    nearly with few clusters: `tests/benchmarks/coverage.py` shows them side by side.

    Args:
        values: `[questions, draws]`, float64, NaN where there is none.
        clusters: The cluster of each question: `[questions]`.
        top: The largest value there can be, where 0 is the smallest: 1 for shares, 100 for scores; None without one.
        seed: Of the bootstrap.
        resamples: Of the bootstrap.

    Returns:
        The mean, its interval in the same units, and the number of values. No interval where nothing has an upper
        bound and there is one cluster only; no value where there are none.

    Raises:
        ValueError: The shapes do not fit, or a value lies outside 0 to `top`.

    Source: the effective number of answers and Student's quantile: Korn and Graubard, Survey Methodology 24 (1998),
        p. 193; in Wilson's interval: Franco and others, Journal of Survey Statistics and Methodology 7 (2019), p. 334.
    """
    sums = clustered(values, clusters)
    if not sums.count:
        return Rate(value=None)
    if top is None:
        low, high = _unbounded(sums, resamples, seed)
        return Rate(value=sums.mean, low=low, high=high, count=sums.count)
    check_bounds(float(np.nanmin(values)), float(np.nanmax(values)), top)
    low, high = _bounded(Clustered(sums.totals / top, sums.counts))
    return Rate(value=sums.mean, low=low * top, high=high * top, count=sums.count)


def _unbounded(sums: Clustered, resamples: int, seed: int) -> tuple[float | None, float | None]:
    if sums.size < 2:
        return None, None
    return studentised(sums, resamples=resamples, seed=seed) if sums.variance else (sums.mean, sums.mean)


def _bounded(sums: Clustered) -> tuple[float, float]:
    share = min(max(sums.mean, 0.0), 1.0)
    if share in (0.0, 1.0):
        interval = wilson(int(share) * sums.size, sums.size)
        return interval.low, interval.high
    reach = quantile(0.975, max(1, sums.size - 1))
    return _score_interval(share, _effective_answers(sums, share), reach)


def _effective_answers(sums: Clustered, share: float) -> float:
    """How many independent answers would tell as much."""
    alike = float(sums.counts.sum()) ** 2 / float(np.square(sums.counts).sum())
    if not sums.variance:
        return alike
    measured = share * (1 - share) / sums.variance
    # How alike answers of a cluster are shows only in clusters that hold some of the rarer kind.
    spread = min(effective_number(sums.totals), effective_number(sums.counts - sums.totals))
    return max(measured / few_bearers(spread, sums.size), min(measured, alike))


def _score_interval(share: float, size: float, reach: float) -> tuple[float, float]:
    """Wilson's interval for a size that need not be whole, with another quantile than the normal one."""
    square = reach * reach / size
    centre = (share + square / 2) / (1 + square)
    half = math.sqrt(square * (share * (1 - share) + square / 4)) / (1 + square)
    return max(0.0, centre - half), min(1.0, centre + half)
