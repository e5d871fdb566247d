import numpy as np
import pytest
from scipy.stats import t as reference

from unhitch.evals.statistics.student import quantile, upper_tail

DEGREES = [*range(1, 12), 19, 60, 179, 1000, 2001]


@pytest.mark.parametrize("degrees", DEGREES)
def test_tails_agree_with_scipy(degrees: int) -> None:
    points = (-40.0, -3.2, -0.4, 0.0, 0.1, 1.0, 2.5, 6.0)
    assert [upper_tail(point, degrees) for point in points] == pytest.approx(reference.sf(points, degrees), abs=1e-13)


@pytest.mark.parametrize("degrees", DEGREES)
def test_quantiles_agree_with_scipy(degrees: int) -> None:
    for probability in (0.5, 0.6, 0.95, 0.975, 0.9995):
        assert quantile(probability, degrees) == pytest.approx(reference.ppf(probability, degrees), rel=1e-9, abs=1e-12)


def test_the_tail_of_infinity_is_empty() -> None:
    assert (upper_tail(np.inf, 5), upper_tail(-np.inf, 5)) == (0.0, 1.0)
