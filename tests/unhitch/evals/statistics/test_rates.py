import numpy as np
import pytest
from statsmodels.stats.proportion import proportion_confint

from tests.unhitch.evals.statistics.synthetic import Setting, shares, words
from unhitch.evals.statistics.rates import rate
from unhitch.evidence.pool import Rate
from unhitch.intervals import wilson

RUNS = 2000
# Settings in which enough answers of the rarer kind are expected for an interval to be exact on average.
COVERED = [
    Setting(20, 1, 0.5, 0.0),
    Setting(20, 3, 0.3, 0.0),
    Setting(20, 3, 0.5, 0.2),
    Setting(20, 5, 0.3, 0.2),
    Setting(20, 10, 0.3, 0.2),
    Setting(20, 10, 0.9, 0.2),
    Setting(60, 1, 0.1, 0.0),
    Setting(60, 3, 0.3, 0.6),
    Setting(60, 5, 0.05, 0.2),
    Setting(60, 10, 0.05, 0.0),
    Setting(60, 10, 0.9, 0.6),
    Setting(180, 3, 0.05, 0.6),
    Setting(180, 5, 0.9, 0.2),
    Setting(180, 10, 0.05, 0.2),
]
# So few that only some values of a share can be observed, or that all may sit in one or two clusters.
RARE = [Setting(20, 1, 0.05, 0.0), Setting(20, 3, 0.05, 0.6), Setting(20, 10, 0.05, 0.6), Setting(20, 10, 0.9, 0.6)]


def coverage(setting: Setting) -> float:
    found = [rate(values, setting.index) for values in shares(setting, RUNS, seed=1)]
    return float(np.mean([interval.low <= setting.rate <= interval.high for interval in found]))  # type: ignore[operator]


@pytest.mark.parametrize("setting", COVERED, ids=str)
def test_an_interval_of_a_share_holds_the_truth_in_93_to_97_of_100_runs(setting: Setting) -> None:
    assert 0.93 <= coverage(setting) <= 0.97


@pytest.mark.parametrize("setting", RARE, ids=str)
def test_an_interval_of_a_rare_share_in_few_clusters_stays_near_95(setting: Setting) -> None:
    assert 0.92 <= coverage(setting) <= 0.99


@pytest.mark.parametrize(("clusters", "draws"), [(20, 5), (60, 1), (60, 5)])
def test_an_interval_of_a_mean_without_bounds_holds_the_truth_in_93_to_97_of_100_runs(
    clusters: int, draws: int
) -> None:
    truth, tables = words(clusters, draws, 1000, seed=1)
    found = [rate(values, np.arange(clusters), top=None, resamples=499) for values in tables]
    assert 0.93 <= np.mean([interval.low <= truth <= interval.high for interval in found]) <= 0.97  # type: ignore[operator]


@pytest.mark.parametrize("successes", [0, 40])
def test_where_all_answers_agree_a_cluster_counts_as_one_answer(successes: int) -> None:
    found = rate(np.full((40, 5), successes / 40), np.arange(40))
    low, high = proportion_confint(successes, 40, method="wilson")
    assert (found.low, found.high) == pytest.approx((max(0, low), min(1, high)), abs=1e-12)


def test_with_many_clusters_of_one_answer_it_is_wilsons_interval() -> None:
    values = (np.arange(5000) < 900).astype(np.float64)[:, None]
    found, theirs = rate(values, np.arange(5000)), wilson(900, 5000)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high), abs=1e-5)


def test_answers_that_repeat_within_clusters_do_not_narrow_the_interval() -> None:
    once = (np.arange(30) < 9).astype(np.float64)[:, None]
    alone, repeated = rate(once, np.arange(30)), rate(np.repeat(once, 8, axis=1), np.arange(30))
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high), rel=1e-9)


def test_questions_of_one_cluster_count_as_draws_of_one_question() -> None:
    values = (np.random.default_rng(0).random((40, 6)) < 0.4).astype(np.float64)
    apart = rate(values.reshape(120, 2), np.repeat(np.arange(40), 3))
    assert apart == rate(values, np.arange(40))


def test_equal_shares_in_all_clusters_leave_an_interval() -> None:
    found = rate(np.tile([0.0, 1.0, 1.0], (20, 1)), np.arange(20))
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.low > 0.3


def test_scores_are_shares_of_their_bound() -> None:
    values = np.random.default_rng(1).random((30, 4))
    share, score = rate(values, np.arange(30)), rate(100 * values, np.arange(30), top=100)
    assert (score.value, score.low, score.high) == pytest.approx(
        [100 * bound for bound in (share.value, share.low, share.high) if bound is not None]
    )


def test_missing_answers_do_not_count() -> None:
    values = np.array([[1.0, np.nan], [0.0, 1.0]])
    found = rate(values, np.arange(2))
    assert (found.value, found.count) == (2 / 3, 3)


def test_nothing_has_no_rate() -> None:
    assert rate(np.full((3, 2), np.nan), np.arange(3)) == Rate(value=None)


def test_one_cluster_says_next_to_nothing() -> None:
    found = rate(np.array([[1.0, 0.0]]), np.arange(1))
    assert (found.low, found.high) == pytest.approx((0, 1), abs=0.01)
    assert rate(np.array([[7.0, 9.0]]), np.arange(1), top=None) == Rate(value=8, count=2)


def test_values_outside_their_bounds_are_refused_and_rounding_is_not() -> None:
    with pytest.raises(ValueError, match="from 0 to 80 .* top=100"):
        rate(np.array([[0.0], [80.0]]), np.arange(2))
    assert rate(np.array([[100.00000000000001]]), np.arange(1), top=100).high == 100
