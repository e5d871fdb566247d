import numpy as np
import pytest
import statsmodels.api as sm
from scipy import stats

from tests.unhitch.evals.statistics.synthetic import Setting, arms
from unhitch.evals.statistics.paired import Difference, compare, differences
from unhitch.intervals import wilson

RUNS = 1000
COVERED = [
    Setting(20, 1, 0.5, 0.6, 0.2),
    Setting(20, 3, 0.3, 0.0),
    Setting(20, 3, 0.4, 0.3, 0.05),
    Setting(20, 5, 0.3, 0.2, 0.1),
    Setting(20, 10, 0.5, 0.6, 0.2),
    Setting(20, 10, 0.05, 0.2, 0.15),
    Setting(60, 1, 0.3, 0.0),
    Setting(60, 3, 0.1, 0.2),
    Setting(60, 5, 0.9, 0.2, 0.8),
    Setting(60, 10, 0.3, 0.2),
    Setting(60, 10, 0.05, 0.6, 0.15),
    Setting(180, 1, 0.05, 0.0),
    Setting(180, 3, 0.9, 0.6),
    Setting(180, 5, 0.4, 0.6, 0.05),
]
# Without an effect and with hardly a pair that differs, no test can reject in 5 of 100 runs.
SPARSE = [Setting(20, 1, 0.05, 0.0), Setting(20, 10, 0.05, 0.6), Setting(60, 3, 0.05, 0.6)]


def coverage(setting: Setting) -> float:
    truth = setting.strategy_rate - setting.rate
    found = [compare(*pair, setting.index) for pair in arms(setting, RUNS, seed=1)]
    return float(np.mean([difference.low <= truth <= difference.high for difference in found]))  # type: ignore[operator]


@pytest.mark.parametrize("setting", COVERED, ids=str)
def test_an_interval_of_a_difference_holds_the_truth_in_93_to_97_of_100_runs(setting: Setting) -> None:
    assert 0.93 <= coverage(setting) <= 0.97


@pytest.mark.parametrize("setting", SPARSE, ids=str)
def test_an_interval_errs_on_the_safe_side_where_hardly_a_pair_differs(setting: Setting) -> None:
    assert coverage(setting) >= 0.95


def test_error_and_p_are_those_of_a_cluster_robust_regression_within_a_few_percent() -> None:
    generator = np.random.default_rng(0)
    clusters = np.repeat(np.arange(80), 2)
    hardness = generator.normal(0, 10, 80)[clusters][:, None]
    strategy, passthrough = (50 + shift + hardness + generator.normal(0, 8, (160, 3)) for shift in (1.5, 0.0))
    found = compare(strategy, passthrough, clusters, top=100)
    arm = np.repeat([1.0, 0.0], strategy.size)
    values, groups = np.concatenate([strategy.ravel(), passthrough.ravel()]), np.tile(np.repeat(clusters, 3), 2)
    fit = sm.OLS(values, sm.add_constant(arm)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)
    assert found.value == pytest.approx(fit.params[1], rel=1e-9)
    assert found.error == pytest.approx(fit.bse[1], rel=0.03)
    assert found.p == pytest.approx(fit.pvalues[1], rel=0.15)


def test_with_many_pairs_it_is_the_paired_t_test() -> None:
    strategy, passthrough = np.random.default_rng(1).random((2, 4000, 1))
    found = compare(strategy, passthrough, np.arange(4000))
    theirs = stats.ttest_rel(strategy[:, 0], passthrough[:, 0])
    assert found.p == pytest.approx(theirs.pvalue, rel=0.01)


@pytest.mark.parametrize("seed", range(20))
def test_p_is_at_most_5_percent_exactly_where_0_lies_outside_the_interval(seed: int) -> None:
    setting = Setting(20, 3, 0.2, 0.3, 0.35)
    found = compare(*next(arms(setting, 1, seed)), setting.index)
    assert found.p is not None
    assert found.low is not None
    assert found.high is not None
    assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)


def test_equal_arms_differ_by_0_with_an_interval_for_what_was_not_seen() -> None:
    table = np.zeros((40, 5))
    found, bound = compare(table, table, np.arange(40)), wilson(0, 40).high
    assert (found.value, found.p, found.count) == (0, 1, 200)
    assert (found.low, found.high) == pytest.approx((-bound, bound))


def test_an_equal_change_everywhere_has_such_an_interval_too_and_is_no_chance() -> None:
    found = compare(np.zeros((40, 5)), np.ones((40, 5)), np.arange(40))
    assert (found.value, found.low) == (-1, -1)
    assert found.high == pytest.approx(-1 + wilson(0, 40).high)
    assert found.p is not None
    assert found.p < 1e-6


def test_swapped_arms_differ_by_the_opposite() -> None:
    strategy, passthrough = next(arms(Setting(30, 4, 0.4, 0.3, 0.2), 1))
    there, back = (compare(*pair, np.arange(30)) for pair in ((strategy, passthrough), (passthrough, strategy)))
    assert (there.value, there.low, there.p) == (-back.value, -back.high, back.p)  # type: ignore[operator]


def test_draws_that_both_have_are_paired() -> None:
    strategy = np.array([[1.0, 0.0, np.nan], [np.nan, np.nan, 1.0]])
    passthrough = np.array([[0.0, np.nan, 1.0], [np.nan, 0.0, 1.0]])
    assert differences(strategy, passthrough) == pytest.approx(
        np.array([[1, np.nan, np.nan], [np.nan, np.nan, 0]]), nan_ok=True
    )


def test_a_question_without_a_common_draw_is_one_pair_of_means() -> None:
    strategy, passthrough = np.array([[np.nan, 1.0, 0.0]]), np.array([[0.25, np.nan, np.nan]])
    assert differences(strategy, passthrough) == pytest.approx(np.array([[0.25, np.nan, np.nan]]), nan_ok=True)


def test_a_question_that_one_arm_did_not_answer_does_not_count() -> None:
    strategy, passthrough = np.array([[1.0], [np.nan]]), np.array([[0.0], [1.0]])
    assert compare(strategy, passthrough, np.arange(2)).count == 1


def test_no_pair_has_no_difference() -> None:
    assert compare(np.full((3, 2), np.nan), np.ones((3, 2)), np.arange(3)) == Difference(None)


def test_one_cluster_proves_nothing() -> None:
    found = compare(np.ones((1, 9)), np.zeros((1, 9)), np.arange(1))
    assert found.low is not None
    assert found.p is not None
    assert found.low < 0
    assert found.p > 0.05


def test_tables_of_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\(3, 2\).*\(3, 1\)"):
        compare(np.zeros((3, 2)), np.zeros((3, 1)), np.arange(3))


def test_scores_need_their_bound() -> None:
    with pytest.raises(ValueError, match="top=100"):
        compare(np.full((3, 2), 80.0), np.full((3, 2), 90.0), np.arange(3))


def test_equal_lengths_are_measured_by_their_range() -> None:
    lengths = np.random.default_rng(2).integers(20, 120, (40, 2)).astype(np.float64)
    found = compare(lengths, lengths, np.arange(40), top=None)
    assert found.high == pytest.approx(np.ptp(lengths) * wilson(0, 40).high)
