"""Geometry of the curve by layer: across in per cent of the plot's width, down in pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from unhitch.evals.report.figures import known, position
from unhitch.evidence.pool import Rate
from unhitch.evidence.scorecard import PASSTHROUGH, ArmRow, LayerRow

HEIGHT = 240
"""Pixels from 0% to 100%."""

_INSET = 2.0
_LABELS = 9


@dataclass(frozen=True, slots=True)
class Point:
    """One layer.

    Args:
        layer: Its number.
        good: Share of good answers.
        x: From 0 to 100.
        labelled: Whether its number stands under the axis.
    """

    layer: int
    good: Rate
    x: float
    labelled: bool

    @property
    def y(self) -> float:
        """From 0 (all answers are good) to `HEIGHT`."""
        return down(self.good.value)


@dataclass(frozen=True, slots=True)
class Level:
    """An arm that is no matter of layers, drawn across.

    Args:
        name: The arm's.
        good: Share of good answers.
    """

    name: str
    good: Rate

    @property
    def y(self) -> float:
        """From 0 to `HEIGHT`."""
        return down(self.good.value)


@dataclass(frozen=True, slots=True)
class Curve:
    """The curve.

    Args:
        points: Layers that have a share, in their order.
        levels: At most two.
    """

    points: tuple[Point, ...]
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, layers: Sequence[LayerRow], arms: Sequence[ArmRow]) -> Self:
        """The curve by layer, with the arms without mitigation and of the base as levels."""
        rows = sorted((row for row in layers if known(row.good.value) is not None), key=lambda row: row.layer)
        every = -(-len(rows) // _LABELS) or 1
        points = tuple(
            Point(row.layer, row.good, _across(row.layer, rows[0].layer, rows[-1].layer), index % every == 0)
            for index, row in enumerate(rows)
        )
        across = (arm for arm in arms if arm.name in (PASSTHROUGH, "base") and known(arm.good.value) is not None)
        return cls(points, tuple(Level(arm.name, arm.good) for arm in across))

    @property
    def segments(self) -> list[tuple[Point, Point]]:
        """Neighbouring points, to be joined."""
        return list(zip(self.points, self.points[1:], strict=False))

    @property
    def best(self) -> Point | None:
        """The layer with the most good answers; the first of equals."""
        return max(self.points, key=lambda point: point.good.value or 0.0, default=None)


def down(share: float | None) -> float:
    """Pixels below the top for a share."""
    return round(HEIGHT * (1 - position(share) / 100), 2)


def _across(layer: int, first: int, last: int) -> float:
    if first == last:
        return 50.0
    return round(_INSET + (100 - 2 * _INSET) * (layer - first) / (last - first), 2)
