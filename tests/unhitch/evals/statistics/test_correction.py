import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from unhitch.evals.statistics.correction import benjamini_hochberg


@pytest.mark.parametrize("seed", range(5))
def test_it_agrees_with_statsmodels(seed: int) -> None:
    p = np.random.default_rng(seed).beta(0.4, 1, size=30).round(2)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=1e-15)


def test_tests_without_a_p_value_are_not_counted() -> None:
    assert benjamini_hochberg([0.01, np.nan, 0.04]) == pytest.approx([0.02, np.nan, 0.04], nan_ok=True)


def test_no_tests_have_no_p_values() -> None:
    assert len(benjamini_hochberg([])) == 0


def test_what_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1\.2"):
        benjamini_hochberg([0.1, 1.2])
