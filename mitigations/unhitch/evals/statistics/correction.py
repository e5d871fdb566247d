"""Correction of p values for the number of tests."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def benjamini_hochberg(p: Sequence[float] | NDArray[np.float64]) -> NDArray[np.float64]:
    """Adjusted p values: rejecting those up to q keeps the false discovery rate at q.

    Where nothing has an effect, every discovery is false, so that any is made with a probability of at most q.

    Args:
        p: `[tests]`, from 0 to 1; NaN where a test has none. Those are not counted, and stay NaN.

    Returns:
        `[tests]`, float64, from 0 to 1.

    Raises:
        ValueError: A value is no probability.

    Source: Benjamini and Hochberg, Journal of the Royal Statistical Society B 57 (1995), p. 289.
    """
    values = np.asarray(p, dtype=np.float64)
    adjusted = np.full(values.shape, np.nan)
    tests = np.flatnonzero(~np.isnan(values))
    if not len(tests):
        return adjusted
    known = values[tests]
    if known.min() < 0 or known.max() > 1:
        raise ValueError(f"p values from {known.min():g} to {known.max():g}: they must lie between 0 and 1")
    order = np.argsort(known)
    steps = known[order] * len(known) / np.arange(1, len(known) + 1)
    adjusted[tests[order]] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return adjusted
