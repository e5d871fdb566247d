from collections import Counter

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message, Question, Suite
from unhitch.evals.suites.split import split


def suite(*themes: tuple[str, int], variants: int = 1) -> Suite:
    """So many clusters of each theme, with so many questions each."""
    return Suite(
        name="s",
        questions=tuple(
            Question(
                id=f"{theme}-{number}-{variant}",
                messages=(Message(role="user", content="Why?"),),
                theme=theme,
                cell="neutral" if variant == 0 else "json",
                cluster=f"{theme}-{number}",
            )
            for variant in range(variants)
            for theme, count in themes
            for number in range(count)
        ),
    )


def test_the_parts_are_the_whole_and_share_no_cluster() -> None:
    whole = suite(("a", 10), ("b", 7), variants=3)
    development, held_out = split(whole, seed=1, share=0.5)
    assert {q.group for q in development.questions}.isdisjoint(q.group for q in held_out.questions)
    parts = [question.id for part in (development, held_out) for question in part.questions]
    assert sorted(parts) == sorted(question.id for question in whole.questions)


def test_every_theme_is_split_by_the_share() -> None:
    development, _ = split(suite(("a", 20), ("b", 40), ("c", 10)), seed=0, share=0.3)
    assert Counter(question.theme for question in development.questions) == {"a": 6, "b": 12, "c": 3}


def test_small_themes_do_not_add_their_roundings_up() -> None:
    development, _ = split(suite(*((str(number), 1) for number in range(30))), seed=0, share=0.5)
    assert len(development.questions) == 15


def test_an_equal_seed_gives_equal_parts_and_another_one_others() -> None:
    whole = suite(("a", 30))
    first, again, other = (split(whole, seed=seed, share=0.5)[0] for seed in (3, 3, 4))
    assert first.digest == again.digest != other.digest


def test_the_draw_is_the_same_on_every_machine() -> None:
    development, _ = split(suite(("a", 6)), seed=0, share=0.5)
    assert [question.id for question in development.questions] == ["a-0-0", "a-2-0", "a-5-0"]


def test_questions_stay_in_the_suites_order() -> None:
    whole = suite(("a", 9), ("b", 9))
    for part in split(whole, seed=2, share=0.5):
        assert list(part.questions) == [question for question in whole.questions if question in part.questions]


def test_an_empty_part_is_an_error() -> None:
    with pytest.raises(InvalidSuite, match="has 1 independent questions, and a share of 0.5 leaves one part empty"):
        split(suite(("a", 1), variants=4), seed=0, share=0.5)


@pytest.mark.parametrize("share", [0, 1, -0.5, float("nan")])
def test_a_share_out_of_range_is_an_error(share: float) -> None:
    with pytest.raises(ValueError, match="share is"):
        split(suite(("a", 4)), seed=0, share=share)
