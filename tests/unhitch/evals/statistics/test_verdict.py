import numpy as np
import pytest
from statsmodels.stats.multitest import multipletests

from tests.unhitch.evals.statistics.synthetic import Setting, arms, flags, unaffected_runs
from unhitch.evals.statistics.paired import Difference, compare
from unhitch.evals.statistics.verdict import Better, Check, judge_all


def test_a_validation_of_a_strategy_without_effect_flags_anything_in_at_most_5_of_100_runs() -> None:
    assert sum(flags(pairs) for pairs in unaffected_runs(1000)) <= 50


def test_a_cell_that_gets_clearly_worse_fails_among_19_that_do_not() -> None:
    found = 0
    for pairs in unaffected_runs(50, seed=1):
        worse = Setting(60, 5, 0.1, 0.2, 0.35)
        pairs[0] = type(pairs[0])(*next(arms(worse, 1, seed=found)), worse.index, 1, "lower")
        checks = [
            Check(str(n), compare(p.strategy, p.passthrough, p.index, top=p.top), p.better) for n, p in enumerate(pairs)
        ]
        found += judge_all(checks)[0].verdict == "fail"
    assert found >= 45


@pytest.mark.parametrize(
    ("value", "better", "worst", "verdict"),
    [
        (9.0, "lower", 0.0, "fail"),
        (9.0, "higher", 0.0, "pass"),
        (-9.0, "higher", 0.0, "fail"),
        (-9.0, "lower", 0.0, "pass"),
        (9.0, "lower", 8.0, "pass"),
        (-9.0, "higher", -8.0, "pass"),
        (9.0, "lower", 2.0, "fail"),
        (-9.0, "higher", -2.0, "fail"),
    ],
)
def test_only_what_is_worse_than_allowed_beyond_its_interval_fails(
    value: float, better: Better, worst: float, verdict: str
) -> None:
    difference = Difference(value, value - 2, value + 2, 0.0, 100, 1.0, 60)
    assert judge_all([Check("a", difference, better, worst)])[0].verdict == verdict


def test_p_is_one_sided_against_what_is_allowed_and_adjusted_over_all_checks_with_data() -> None:
    drawn = [next(arms(Setting(40, 3, 0.3, 0.2, after), 1, seed=1)) for after in (0.3, 0.5, 0.7)]
    checks = [Check(str(n), compare(*pair, np.arange(40)), "lower", 0.1) for n, pair in enumerate(drawn)]
    rulings = judge_all([*checks, Check("none", Difference(None), "lower")])
    p = [check.difference.upper_p(0.1) for check in checks]
    assert [ruling.p for ruling in rulings] == [*p, None]
    assert [ruling.p_adjusted for ruling in rulings[:3]] == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert (rulings[3].verdict, rulings[3].p_adjusted) == ("no data", None)


def test_both_one_sided_p_values_at_0_make_up_the_two_sided_one() -> None:
    found = compare(*next(arms(Setting(40, 3, 0.3, 0.2, 0.4), 1)), np.arange(40))
    upper, lower = found.upper_p(0), found.lower_p(0)
    assert upper is not None
    assert lower is not None
    assert (upper + lower, 2 * min(upper, lower)) == pytest.approx((1, found.p))


def test_a_barely_worse_check_passes_among_many() -> None:
    barely = Difference(2.1, 0.1, 4.1, 0.04, 100, 1.0, 60)
    nothing = Difference(0.0, -2.0, 2.0, 1.0, 100, 1.0, 60)
    alone = judge_all([Check("a", barely, "lower")])[0]
    among = judge_all([Check("a", barely, "lower"), *(Check(str(n), nothing, "lower") for n in range(19))])[0]
    assert (alone.verdict, among.verdict) == ("fail", "pass")


def test_equal_arms_pass_whatever_is_allowed() -> None:
    equal = compare(np.ones((20, 2)), np.ones((20, 2)), np.arange(20))
    assert judge_all([Check("a", equal, "lower"), Check("b", equal, "higher")])[0].verdict == "pass"


def test_no_checks_have_no_rulings() -> None:
    assert judge_all([]) == ()
