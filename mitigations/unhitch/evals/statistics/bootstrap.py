"""The cluster bootstrap of a mean: whole clusters are drawn again, with replacement."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from unhitch.evals.statistics.clustered import Clustered

RESAMPLES = 10_000
"""How often clusters are drawn again, unless told otherwise."""

_CELLS = 1_000_000
"""How many draws of a cluster are held at a time: about 30 MB."""


@dataclass(frozen=True)
class Resampled:
    """Means over resampled clusters.

    Args:
        means: `[resamples]`, float64.
        errors: Standard error of each, from the clusters that it was taken over: `[resamples]`, float64.
    """

    means: NDArray[np.float64]
    errors: NDArray[np.float64]


def resample(sums: Clustered, *, resamples: int = RESAMPLES, seed: int = 0) -> Resampled:
    """Draws as many clusters as there are, with replacement, and takes the mean and its standard error.

    Args:
        sums: At least two clusters.
        resamples: How often, at least 1.
        seed: Equal seeds give equal results.

    Source: Davison and Hinkley, Bootstrap Methods and their Application (1997), section 3.8.
    """
    apart, counts = sums.deviations, sums.counts
    parts = np.stack([apart, counts, apart * apart, apart * counts, counts * counts], axis=1)
    generator = np.random.default_rng(seed)
    drawn = np.concatenate([weights @ parts for weights in _weights(sums.size, resamples, generator)])
    total, count, squares, products, count_squares = drawn.T
    shift = total / count
    left = np.maximum(squares - 2 * shift * products + shift * shift * count_squares, 0.0)
    return Resampled(sums.mean + shift, np.sqrt(sums.size / (sums.size - 1) * left) / count)


def studentised(sums: Clustered, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float]:
    """The 95% bootstrap-t interval of the mean: low and high.

    Each resampled mean is measured in its own standard errors, which a plain percentile interval leaves out, and so
    gets too narrow with few clusters. Resamples without variation cannot be measured, and are left out.

    Args:
        sums: At least two clusters, which differ.
        resamples: How often clusters are drawn again.
        seed: Equal seeds give equal intervals.

    Source: Davison and Hinkley (1997), section 5.2.
    """
    drawn = resample(sums, resamples=resamples, seed=seed)
    error = sums.variance**0.5
    sound = drawn.errors > 1e-9 * error
    distances = (drawn.means[sound] - sums.mean) / drawn.errors[sound]
    low, high = np.quantile(distances, (0.025, 0.975))
    return float(sums.mean - high * error), float(sums.mean - low * error)


def _weights(size: int, resamples: int, generator: np.random.Generator) -> Iterator[NDArray[np.float64]]:
    """How often each cluster was drawn, in chunks of `[some, clusters]`."""
    chunk = max(1, _CELLS // size)
    for start in range(0, resamples, chunk):
        rows = min(chunk, resamples - start)
        drawn = generator.integers(size, size=(rows, size)) + np.arange(rows)[:, None] * size
        yield np.bincount(drawn.ravel(), minlength=rows * size).reshape(rows, size).astype(np.float64)
