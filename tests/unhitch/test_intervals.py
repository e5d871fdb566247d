import numpy as np
import pytest

from unhitch.intervals import over_draws, wilson


def test_wilson_agrees_with_a_published_example() -> None:
    # 81 of 263 (Newcombe 1998, table I, method 3).
    share, low, high = wilson(81, 263)
    assert (share, low, high) == pytest.approx((0.3080, 0.2553, 0.3662), abs=5e-5)


def test_wilson_is_honest_at_the_ends() -> None:
    assert wilson(0, 20).high > 0.1
    assert wilson(20, 20).low < 0.9
    assert (wilson(0, 20).low, wilson(20, 20).high) == (0.0, 1.0)


def test_an_interval_over_draws_that_differ_is_wider_than_over_draws_that_agree() -> None:
    generator = np.random.default_rng(1)
    agree = generator.random((10, 200)) < 0.5
    differ = generator.random((10, 200)) < np.linspace(0, 1, 10)[:, None]
    assert over_draws(agree).high - over_draws(agree).low < 0.15
    assert over_draws(differ).high - over_draws(differ).low > 0.3


def test_the_interval_over_draws_covers_the_truth_about_as_often_as_it_says() -> None:
    generator = np.random.default_rng(2)
    hits = 0
    for _ in range(60):
        levels = generator.beta(4, 4, size=10)
        sample = over_draws(generator.random((10, 60)) < levels[:, None])
        hits += sample.low <= 0.5 <= sample.high
    assert hits >= 50
