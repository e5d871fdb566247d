"""Cells and checks, read for display."""

from typing import Any

import pytest

from tests.unhitch.evals.report.scorecards import NOTHING, compared
from unhitch.evals.report.comparisons import Row, common_measure
from unhitch.evals.report.figures import MEAN, SHARE
from unhitch.evidence.pool import Rate


def row(before: float, after: float, measure: str = "misaligned answers", **other: Any) -> Row:
    return Row(compared("cell", before, after, measure, **other))


@pytest.mark.parametrize(("unit", "shown"), [("mean", MEAN), ("share", SHARE)])
def test_values_are_written_in_the_unit_of_their_measure(unit: str, shown: object) -> None:
    assert row(0.4, 0.5, unit=unit).unit is shown


@pytest.mark.parametrize(("better", "more_is_worse"), [("lower", True), ("higher", False)])
def test_which_way_is_worse_is_the_measure_s_own(better: str, more_is_worse: bool) -> None:
    assert row(0.5, 0.5, better=better).more_is_worse is more_is_worse


@pytest.mark.parametrize(
    ("before", "after", "shade"),
    [(0.6, 0.05, "better-4"), (0.3, 0.15, "better-2"), (0.1, 0.3, "worse-2"), (0.1, 0.9, "worse-4")],
)
def test_differences_are_shaded_by_their_direction_and_size(before: float, after: float, shade: str) -> None:
    assert row(before, after).shade == shade


def test_a_difference_whose_interval_holds_0_is_not_shaded() -> None:
    assert row(0.1, 0.3, difference=Rate(value=0.2, low=-0.1, high=0.5)).shade == "same"


def test_what_has_no_data_has_no_colour() -> None:
    empty = row(0.1, 0.1, strategy=NOTHING, difference=NOTHING)
    assert (empty.shade, empty.heat(NOTHING)) == ("", "")


def test_values_are_shaded_by_how_bad_they_are_in_the_direction_of_the_measure() -> None:
    assert row(0.8, 0.1).heat(Rate(value=0.8)) == "worse-4"
    assert row(0.8, 0.1, "usable answers", better="higher").heat(Rate(value=1.0)) == "same"
    assert row(90.0, 90.0, "mean coherence", better="higher").heat(Rate(value=90.0)) == "worse-1"


def test_a_common_measure_is_named_once() -> None:
    same, other = compared("a", 0.1, 0.1), compared("b", 0.1, 0.1, "refusals")
    assert common_measure((same, other, same)) == "misaligned answers"
    assert common_measure((same, other)) == ""
