"""95% intervals for shares of good answers."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_Z = 1.959963984540054
_RESAMPLES = 2000


class Interval(NamedTuple):
    """A share and the 95% interval around it, each from 0 to 1."""

    share: float
    low: float
    high: float


def wilson(successes: int, total: int) -> Interval:
    """A share of independent answers with Wilson's score interval, which stays honest near 0 and 1.

    Args:
        successes: From 0 to `total`.
        total: At least 1.
    """
    share = successes / total
    centre = (share + _Z**2 / (2 * total)) / (1 + _Z**2 / total)
    reach = _Z / (1 + _Z**2 / total) * math.sqrt(share * (1 - share) / total + _Z**2 / (4 * total**2))
    return Interval(share, max(0.0, centre - reach), min(1.0, centre + reach))


def over_draws(good: NDArray[np.bool_]) -> Interval:
    """The mean share over several draws of a strategy, with a percentile bootstrap that resamples draws and questions.

    Draws differ more than answers do, so an interval over the answers alone would be far too narrow.

    Args:
        good: `[draws, questions]`, bool: whether each answer is good.
    """
    generator = np.random.default_rng(0)
    draws, questions = good.shape
    values = good.astype(np.float64)
    means = np.empty(_RESAMPLES)
    for index in range(_RESAMPLES):
        rows = generator.integers(draws, size=draws)
        columns = generator.integers(questions, size=questions)
        means[index] = values[rows].mean(axis=0)[columns].mean()
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float(values.mean()), float(low), float(high))
