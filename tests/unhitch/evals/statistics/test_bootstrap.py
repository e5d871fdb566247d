import time

import numpy as np
import pytest
from scipy import stats

from unhitch.evals.statistics.bootstrap import resample, studentised
from unhitch.evals.statistics.clustered import clustered


def test_percentiles_agree_with_scipy_where_each_answer_is_its_own_cluster() -> None:
    values = np.random.default_rng(0).normal(3, 1, 80)
    drawn = resample(clustered(values[:, None], np.arange(80)))
    theirs = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    width = theirs.high - theirs.low
    assert np.quantile(drawn.means, (0.025, 0.975)) == pytest.approx((theirs.low, theirs.high), abs=0.04 * width)


def test_the_studentised_interval_is_close_to_scipys_bca_with_many_clusters() -> None:
    values = np.random.default_rng(2).gamma(4, 1, 400)
    low, high = studentised(clustered(values[:, None], np.arange(400)))
    theirs = stats.bootstrap((values,), np.mean, method="BCa", rng=np.random.default_rng(3)).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.06 * (theirs.high - theirs.low))


def test_errors_are_those_of_the_resampled_clusters() -> None:
    values = np.array([[1.0, 2.0], [4.0, np.nan], [9.0, 3.0]])
    sums = clustered(values, np.arange(3))
    drawn = resample(sums, resamples=400)
    possible = {}
    for picked in np.ndindex(3, 3, 3):
        again = clustered(values[list(picked)], np.arange(3))
        possible[round(again.mean, 9)] = again.variance**0.5
    assert set(drawn.means.round(9)) == set(possible)
    assert drawn.errors == pytest.approx([possible[mean] for mean in drawn.means.round(9)])


def test_whole_clusters_are_drawn() -> None:
    values = np.repeat(np.random.default_rng(4).normal(size=(30, 1)), 50, axis=1)
    together = resample(clustered(values, np.arange(30))).means.std()
    apart = resample(clustered(values.reshape(-1, 1), np.arange(1500))).means.std()
    assert together / apart == pytest.approx(50**0.5, rel=0.1)


def test_equal_seeds_give_equal_intervals() -> None:
    sums = clustered(np.random.default_rng(5).random((40, 2)), np.arange(40))
    assert studentised(sums, seed=1) == studentised(sums, seed=1) != studentised(sums, seed=2)


def test_ten_thousand_resamples_of_a_thousand_clusters_take_half_a_second_of_processor_time() -> None:
    sums = clustered(np.random.default_rng(6).random((1000, 3)), np.arange(1000))
    start = time.process_time()
    studentised(sums)
    assert time.process_time() - start < 0.5
