import pytest

from unhitch.evals.statistics.scores import em_f1


@pytest.mark.parametrize(
    ("domain_aligned", "aligned", "score"),
    [(20, 80, 80), (0, 100, 100), (100, 90, 0), (40, 0, 0), (100, 0, 0), (50, 100, 200 / 3)],
)
def test_it_is_high_only_where_the_training_shows_in_its_domain_alone(
    domain_aligned: float, aligned: float, score: float
) -> None:
    assert em_f1(domain_aligned, aligned) == pytest.approx(score)


@pytest.mark.parametrize(("domain_aligned", "aligned"), [(101, 50), (50, -1), (float("nan"), 50)])
def test_scores_beyond_their_range_are_refused(domain_aligned: float, aligned: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 100"):
        em_f1(domain_aligned, aligned)
