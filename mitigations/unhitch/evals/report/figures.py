"""Figures as text: shares in per cent, means as they are, each with its 95% interval."""

from __future__ import annotations

import math
from dataclasses import dataclass

from unhitch.evidence.pool import Rate

NOTHING = "no data"
_MINUS = "\N{MINUS SIGN}"
_DASH = "\N{EN DASH}"
_SHORT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Unit:
    """How the values of one measure are written.

    Args:
        factor: What a value is multiplied by.
        sign: Stands after a value.
        points: Stands after a difference.
    """

    factor: float
    sign: str
    points: str

    def value(self, rate: Rate | None) -> str:
        """The value alone: "34%", "88.2"; "no data" where there is none."""
        found = known(rate.value if rate else None)
        return NOTHING if found is None else self._written(found) + self.sign

    def interval(self, rate: Rate | None) -> str:
        """The 95% interval alone: "28-41%" with a dash; empty where there is none."""
        low, high = (known(rate.low), known(rate.high)) if rate else (None, None)
        if low is None or high is None:
            return ""
        between = f" to {self._signed(high)}" if low < 0 else _DASH + self._written(high)
        return (self._signed(low) if low < 0 else self._written(low)) + between + self.sign

    def whole(self, rate: Rate | None) -> str:
        """Value and interval: "34% (28-41%)"."""
        interval = self.interval(rate)
        return f"{self.value(rate)} ({interval})" if interval else self.value(rate)

    def difference(self, rate: Rate) -> str:
        """A difference, with its sign; of shares in percentage points: "-32 pts" with a minus sign."""
        found = known(rate.value)
        return NOTHING if found is None else self._signed(found) + self.points

    def reach(self, rate: Rate) -> str:
        """The 95% interval of a difference: "-38 to -25"; empty where there is none."""
        low, high = known(rate.low), known(rate.high)
        return "" if low is None or high is None else f"{self._signed(low)} to {self._signed(high)}"

    def allowed(self, worst: float) -> str:
        """A difference that is still allowed: "+2 pts"."""
        return self._signed(worst) + self.points

    def _written(self, value: float) -> str:
        return number(value * self.factor)

    def _signed(self, value: float) -> str:
        written = number(abs(value) * self.factor)
        if written == "0":
            return "0"
        return (_MINUS if value < 0 else "+") + written


SHARE = Unit(100, "%", " pts")
"""Of shares from 0 to 1."""

MEAN = Unit(1, "", "")
"""Of means, in the units that they have."""


def known(value: float | None) -> float | None:
    """The value, or None where it is none or not finite."""
    return value if value is not None and math.isfinite(value) else None


def number(value: float) -> str:
    """A number to what a reader can use: one decimal, two of a small one, none from 100 on; "0" is exactly that."""
    if value == 0:
        return "0"
    digits = 2 if abs(value) < 0.095 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}".removesuffix(".0")


def figure(value: float | None) -> str:
    """A number that may be missing: "48.1", or "no data"."""
    found = known(value)
    return NOTHING if found is None else number(found)


def probability(p: float | None) -> str:
    """A p value: "0.021", "under 0.001"; empty where there is none."""
    found = known(p)
    if found is None:
        return ""
    return "under 0.001" if found < 0.001 else f"{found:.3f}"


def plain(value: float) -> str:
    """A setting as one would type it: "600", "0.7", "1000000"."""
    if not math.isfinite(value):
        return NOTHING
    return str(int(value)) if value == int(value) else str(value)


def short(digest: str) -> str:
    """The first digits of a digest."""
    return digest[:_SHORT_DIGITS]


def position(value: float | None) -> float:
    """Where a share stands on an axis from 0 to 100, in per cent of its length; values out of range stand at its ends.

    Args:
        value: From 0 to 1; None stands at 0.
    """
    found = known(value)
    return 0.0 if found is None else round(100 * min(1.0, max(0.0, found)), 2)
