"""Figures as text."""

import pytest

from unhitch.evals.report.figures import MEAN, SHARE, figure, number, plain, position, probability
from unhitch.evidence.pool import Rate

MINUS, DASH = "\N{MINUS SIGN}", "\N{EN DASH}"


@pytest.mark.parametrize(
    ("value", "written"),
    [(0.0, "0"), (0.004, "0.00"), (0.05, "0.05"), (3.44, "3.4"), (88.0, "88"), (34.25, "34.2"), (100.0, "100")],
)
def test_a_number_has_the_decimals_that_a_reader_can_use(value: float, written: str) -> None:
    assert number(value) == written


def test_a_number_that_is_missing_is_no_data() -> None:
    assert [figure(value) for value in (48.12, None, float("nan"))] == ["48.1", "no data", "no data"]


def test_a_share_is_written_in_per_cent_with_its_interval() -> None:
    assert SHARE.whole(Rate(value=0.34, low=0.28, high=0.41)) == f"34% (28{DASH}41%)"


def test_a_mean_is_written_as_it_is() -> None:
    assert MEAN.whole(Rate(value=88.23, low=87.0, high=89.5)) == f"88.2 (87{DASH}89.5)"


def test_an_interval_that_is_not_known_is_left_out() -> None:
    assert SHARE.whole(Rate(value=0.5)) == "50%"


@pytest.mark.parametrize("rate", [None, Rate(value=None), Rate(value=float("nan")), Rate(value=float("inf"))])
def test_what_is_not_known_or_not_finite_is_no_data(rate: Rate | None) -> None:
    assert (SHARE.whole(rate), MEAN.value(rate)) == ("no data", "no data")


def test_a_difference_of_shares_has_a_sign_and_is_in_points() -> None:
    rate = Rate(value=-0.32, low=-0.38, high=0.02)
    assert SHARE.difference(rate) == f"{MINUS}32 pts"
    assert SHARE.reach(rate) == f"{MINUS}38 to +2"


def test_no_difference_has_no_sign() -> None:
    assert SHARE.difference(Rate(value=0.0)) == "0 pts"


def test_what_is_allowed_keeps_its_sign() -> None:
    assert (MEAN.allowed(-2.0), SHARE.allowed(0.02)) == (f"{MINUS}2", "+2 pts")


@pytest.mark.parametrize(("p", "written"), [(None, ""), (0.0002, "under 0.001"), (0.0213, "0.021"), (1.0, "1.000")])
def test_a_p_value_has_three_decimals(p: float | None, written: str) -> None:
    assert probability(p) == written


@pytest.mark.parametrize(("value", "written"), [(600.0, "600"), (0.7, "0.7"), (-2.0, "-2"), (float("inf"), "no data")])
def test_a_setting_is_written_as_one_would_type_it(value: float, written: str) -> None:
    assert plain(value) == written


@pytest.mark.parametrize(("value", "at"), [(0.25, 25.0), (-1.0, 0.0), (7.0, 100.0), (None, 0.0)])
def test_a_position_never_leaves_the_axis(value: float | None, at: float) -> None:
    assert position(value) == at
