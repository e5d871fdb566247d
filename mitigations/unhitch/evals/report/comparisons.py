"""Cells of the guard matrix and checks of utility, for display: their unit, which way is worse, and how strongly."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from unhitch.evals.report.figures import MEAN, SHARE, Unit, known
from unhitch.evidence.pool import Rate
from unhitch.evidence.scorecard import Comparison

_STEPS_OF_DIFFERENCE = (0.02, 0.1, 0.25, 0.5)
_STEPS_OF_VALUE = (0.02, 0.15, 0.4, 0.7)
_MEANS_REACH = 100.0


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison, as tables show it.

    Args:
        comparison: What was measured.
    """

    comparison: Comparison

    @property
    def unit(self) -> Unit:
        """How its values are written."""
        return SHARE if self.comparison.unit == "share" else MEAN

    @property
    def more_is_worse(self) -> bool:
        """Whether a strategy is worse where it has more of it."""
        return self.comparison.better == "lower"

    @property
    def shade(self) -> str:
        """Class of the cell of the difference: "better-1" to "better-4", "worse-1" to "worse-4"; empty without data.

        "same" is a difference that is small, or whose interval holds 0.
        """
        change = known(self.comparison.difference.value)
        if change is None:
            return ""
        step = bisect_right(_STEPS_OF_DIFFERENCE, abs(change) / self._reach)
        if not step or self._unclear:
            return "same"
        return f"{'worse' if (change > 0) == self.more_is_worse else 'better'}-{step}"

    def heat(self, rate: Rate) -> str:
        """Class of the cell of a value, by how bad it is: "same", "worse-1" to "worse-4"; empty where there is none."""
        value = known(rate.value)
        if value is None:
            return ""
        part = value / self._reach
        step = bisect_right(_STEPS_OF_VALUE, part if self.more_is_worse else 1 - part)
        return f"worse-{step}" if step else "same"

    @property
    def _unclear(self) -> bool:
        low, high = known(self.comparison.difference.low), known(self.comparison.difference.high)
        return low is not None and high is not None and low <= 0 <= high

    @property
    def _reach(self) -> float:
        return 1.0 if self.unit is SHARE else _MEANS_REACH


def common_measure(comparisons: Sequence[Comparison]) -> str:
    """The measure of more than half of them; empty where there is none."""
    measure, count = Counter(compared.measure for compared in comparisons).most_common(1)[0]
    return measure if 2 * count > len(comparisons) else ""
