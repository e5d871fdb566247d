from __future__ import annotations

import pytest

from unhitch.draw import MAX_SEED, Draw


def test_equal_seeds_and_labels_give_equal_choices() -> None:
    first, second = (Draw(7).stream("perturb") for _ in range(2))
    assert [first.below(1000) for _ in range(20)] == [second.below(1000) for _ in range(20)]


def test_the_sequence_of_a_seed_never_changes() -> None:
    stream = Draw(7).stream("perturb")
    assert [stream.below(1000) for _ in range(6)] == [773, 759, 63, 324, 833, 55]


@pytest.mark.parametrize(("seed", "label"), [(8, "perturb"), (7, "recase")])
def test_another_seed_or_label_gives_other_choices(seed: int, label: str) -> None:
    one, other = Draw(7).stream("perturb"), Draw(seed).stream(label)
    assert [one.below(1000) for _ in range(20)] != [other.below(1000) for _ in range(20)]


def test_a_sample_has_no_item_twice() -> None:
    drawn = Draw(3).stream("x").sample(range(50), 20)
    assert len(drawn) == len(set(drawn)) == 20


def test_a_sample_of_more_than_there_is_has_every_item() -> None:
    assert sorted(Draw(3).stream("x").sample("abc", 9)) == ["a", "b", "c"]


def test_every_item_can_be_chosen() -> None:
    stream = Draw(0).stream("x")
    assert {stream.choice("abcd") for _ in range(200)} == set("abcd")


@pytest.mark.parametrize("text", ["", "conversation-42", "für dich", "\ud800"])
def test_any_text_gives_a_seed_that_fits_a_header(text: str) -> None:
    assert 0 <= Draw.from_text(text).seed <= MAX_SEED


def test_the_seed_of_a_text_never_changes() -> None:
    assert Draw.from_text("conversation-42").seed == 293_152_539_998_441
