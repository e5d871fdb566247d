"""Whether a strategy makes anything worse than is allowed, over all comparisons of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from unhitch.evals.statistics.correction import benjamini_hochberg
from unhitch.evals.statistics.paired import Difference
from unhitch.evidence.scorecard import Verdict

Better = Literal["lower", "higher"]
"""Which way a measure improves."""

LEVEL = 0.05
"""How often a run flags anything at most, if nothing is worse than allowed."""


@dataclass(frozen=True, slots=True)
class Check:
    """One comparison that must not come out worse than allowed.

    Args:
        name: The cell or the check.
        difference: Strategy less passthrough.
        better: Whether a lower or a higher measure is better.
        worst: The difference that is still allowed, in the measure's units and with its sign: 2.0 allows a lower
            measure to rise by 2, -2.0 a higher one to fall by 2.
    """

    name: str
    difference: Difference
    better: Better
    worst: float = 0.0


@dataclass(frozen=True, slots=True)
class Ruling:
    """What came of a check.

    Args:
        name: Of the check.
        verdict: "fail" where it is worse than allowed beyond chance, "no data" where nothing was compared.
        p: One-sided, of "no worse than allowed"; None without data.
        p_adjusted: The same after Benjamini and Hochberg, over all checks with data.
    """

    name: str
    verdict: Verdict
    p: float | None = None
    p_adjusted: float | None = None


def judge_all(checks: Sequence[Check]) -> tuple[Ruling, ...]:
    """Judges all checks of a run together, in their order.

    A check fails if its one-sided p of "no worse than allowed" is at most 0.05 after Benjamini and Hochberg over all
    checks, and its own 95% interval lies beyond what is allowed. If nothing is worse than allowed, that flags anything
    at all in at most 5% of runs.

    Args:
        checks: Of all strategies that a run validates.
    """
    tails = [_p_worse(check) for check in checks]
    adjusted = benjamini_hochberg([np.nan if p is None else p for p in tails])
    return tuple(_rule(check, p, float(q)) for check, p, q in zip(checks, tails, adjusted, strict=True))


def _p_worse(check: Check) -> float | None:
    rises_is_worse = check.better == "lower"
    return check.difference.upper_p(check.worst) if rises_is_worse else check.difference.lower_p(check.worst)


def _rule(check: Check, p: float | None, adjusted: float) -> Ruling:
    if p is None:
        return Ruling(check.name, "no data")
    failed = adjusted <= LEVEL and _beyond(check)
    return Ruling(check.name, "fail" if failed else "pass", p, adjusted)


def _beyond(check: Check) -> bool:
    low, high = check.difference.low, check.difference.high
    if low is None or high is None:
        return False
    return low > check.worst if check.better == "lower" else high < check.worst
