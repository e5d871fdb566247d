"""Student's t distribution, for whole degrees of freedom."""

from __future__ import annotations

import math

import numpy as np


def upper_tail(t: float, degrees: int) -> float:
    """The probability that Student's t is above `t`, from 0 to 1; exact to about 1e-15.

    Args:
        t: Any number, infinities included.
        degrees: Degrees of freedom, at least 1.

    Source: Abramowitz and Stegun (1964), 26.7.3 and 26.7.4.
    """
    outside = max(0.0, 1.0 - _within(abs(t), degrees)) / 2
    return outside if t >= 0 else 1.0 - outside


def quantile(probability: float, degrees: int) -> float:
    """The value that Student's t stays below with a probability.

    Args:
        probability: At least 0.5 and below 1.
        degrees: Degrees of freedom, at least 1.
    """
    # The distribution is concave above 0, so that Newton's steps from 0 rise to the quantile and never pass it.
    value, step = 0.0, 1.0
    while step > 1e-12 * (1.0 + value):
        step = (upper_tail(value, degrees) - (1.0 - probability)) / _density(value, degrees)
        value += step
    return value


def _within(t: float, degrees: int) -> float:
    angle = math.atan(t / math.sqrt(degrees))
    square = math.cos(angle) ** 2
    if degrees % 2 == 0:
        steps = np.arange(1, degrees // 2)
        return math.sin(angle) * (1.0 + float(np.cumprod((2 * steps - 1) / (2 * steps) * square).sum()))
    steps = np.arange(1, (degrees - 1) // 2)
    series = 0.0 if degrees == 1 else 1.0 + float(np.cumprod(2 * steps / (2 * steps + 1) * square).sum())
    return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle) * series)


def _density(t: float, degrees: int) -> float:
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    return math.exp(constant - (degrees + 1) / 2 * math.log1p(t * t / degrees))
