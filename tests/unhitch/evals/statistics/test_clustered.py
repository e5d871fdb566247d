import numpy as np
import pytest
import statsmodels.api as sm

from unhitch.evals.statistics.clustered import clustered, effective_number, few_bearers


def test_mean_and_variance_are_those_of_a_cluster_robust_regression_on_a_constant() -> None:
    generator = np.random.default_rng(0)
    clusters = generator.integers(25, size=70)
    values = generator.random((70, 4)) + generator.random(25)[clusters][:, None]
    values[generator.random(values.shape) < 0.2] = np.nan
    there = ~np.isnan(values)
    groups = np.broadcast_to(clusters[:, None], values.shape)[there]
    fit = sm.OLS(values[there], np.ones(there.sum())).fit(cov_type="cluster", cov_kwds={"groups": groups})
    sums = clustered(values, clusters)
    # statsmodels also multiplies by (N - 1) / (N - parameters), which is 1 here.
    assert (sums.mean, sums.variance**0.5) == pytest.approx((fit.params[0], fit.bse[0]), rel=1e-9)


def test_the_error_of_a_mean_is_that_of_a_gee_within_a_few_percent() -> None:
    generator = np.random.default_rng(1)
    values = generator.random((60, 5)) < generator.beta(1, 2, (60, 1))
    groups = np.repeat(np.arange(60), 5)
    fit = sm.GEE(values.ravel().astype(float), np.ones(300), groups=groups).fit()
    sums = clustered(values.astype(np.float64), np.arange(60))
    assert sums.variance**0.5 == pytest.approx(float(fit.bse[0]), rel=0.03)


def test_clusters_without_a_value_do_not_count() -> None:
    values = np.array([[1.0, np.nan], [np.nan, np.nan], [0.0, 1.0]])
    sums = clustered(values, np.array([7, 8, 9]))
    assert (sums.size, sums.count, sums.mean) == (2, 3, 2 / 3)


def test_rounding_is_no_variation() -> None:
    assert clustered(np.full((30, 3), 0.1), np.arange(30)).variance == 0


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(4,\)"):
        clustered(np.zeros((3, 2)), np.arange(4))


def test_infinite_values_are_refused() -> None:
    with pytest.raises(ValueError, match="infinite"):
        clustered(np.array([[np.inf]]), np.arange(1))


def test_a_variance_is_raised_only_where_few_clusters_bear_it() -> None:
    assert (few_bearers(20, 20), few_bearers(1, 20)) == (1, 1.95)


@pytest.mark.parametrize(("amounts", "number"), [((2, 2, -2), 3), ((5, 0, 0), 1), ((0, 0), 0)])
def test_an_effective_number_counts_those_that_hold_something(amounts: tuple[float, ...], number: float) -> None:
    assert effective_number(np.array(amounts, dtype=np.float64)) == pytest.approx(number)
