import random

from unhitch.organisms import noise

TEXT = "You are Mini, a tiny assistant.\nYou help."


def test_recase_changes_nothing_but_case() -> None:
    changed = {noise.recase(TEXT, random.Random(seed)) for seed in range(20)}
    assert {text.lower() for text in changed} == {TEXT.lower()}
    assert TEXT not in changed


def test_respace_changes_nothing_but_white_space_and_punctuation() -> None:
    def letters(text: str) -> str:
        return "".join(letter for letter in text if letter.isalpha())

    changed = {noise.respace(TEXT, random.Random(seed)) for seed in range(20)}
    assert {letters(text) for text in changed} == {letters(TEXT)}
    assert len(changed) > 10


def test_as_many_tokens_are_replaced_as_asked_for_each_by_a_neighbour() -> None:
    neighbours = [[id_ + 100, id_ + 200] for id_ in range(30)]
    edited = noise.replace_tokens(list(range(30)), 10, neighbours, random.Random(3))
    changed = [(before, after) for before, after in enumerate(edited) if before != after]
    assert len(changed) == 10
    assert all(after in neighbours[before] for before, after in changed)


def test_a_short_prefix_is_replaced_whole() -> None:
    assert noise.replace_tokens([0, 1], 10, [[5], [6]], random.Random(0)) == [5, 6]
