import pytest

from tests.cards import BASE, TUNED, card
from unhitch.states.recipe import Recipe
from unhitch.states.shelf import Card, Shelf

PLAIN = Recipe()
TOKENS = (5, 6, 7, 8)


def shelf(*cards: Card, base: str | None = BASE) -> Shelf:
    return Shelf(cards, TUNED, base)


def test_a_state_of_the_base_serves_its_adapters_and_no_whole_finetune() -> None:
    state = card("prefix", TOKENS)
    assert shelf(state).find("prefix", TOKENS, 0, PLAIN) == state
    assert shelf(state, base=None).find("prefix", TOKENS, 0, PLAIN) is None
    assert shelf(state, base="e" * 64).find("prefix", TOKENS, 0, PLAIN) is None


def test_a_state_for_one_finetune_serves_that_one_alone() -> None:
    assert shelf(card("prefix", TOKENS, finetuned=TUNED), base=None).find("prefix", TOKENS, 0, PLAIN) is not None
    assert shelf(card("prefix", TOKENS, finetuned="e" * 64)).find("prefix", TOKENS, 0, PLAIN) is None


def test_a_longer_prefix_serves_a_shorter_one_and_not_the_other_way_round() -> None:
    longer = card("prefix", (*TOKENS, 9))
    assert shelf(longer).find("prefix", TOKENS, 0, PLAIN) == longer
    assert shelf(card("prefix", TOKENS)).find("prefix", (*TOKENS, 9), 0, PLAIN) is None


def test_the_shortest_that_fits_is_taken_then_the_lowest_id() -> None:
    exact, longer = card("prefix", TOKENS), card("prefix", (*TOKENS, 9))
    twin = card("prefix", TOKENS, tokenizer="f" * 64)
    assert shelf(longer, exact, twin).find("prefix", TOKENS, 0, PLAIN) == min(exact, twin, key=lambda each: each.id)


@pytest.mark.parametrize("tokens", [(1, 2, 5, 6), (1, 2, 5, 6, 7, 8), (9, 2, 5, 6, 7)])
def test_a_postfix_needs_its_own_tokens_behind_the_same_prefix(tokens: tuple[int, ...]) -> None:
    state = card("postfix", (1, 2, 5, 6, 7), 2)
    assert shelf(state).find("postfix", (1, 2, 5, 6, 7), 2, PLAIN) == state
    assert shelf(state).find("postfix", tokens, 2, PLAIN) is None
    assert shelf(state).find("postfix", (1, 2, 5, 6, 7), 1, PLAIN) is None


def test_another_recipe_span_or_id_does_not_fit() -> None:
    state = card("prefix", TOKENS, recipe=Recipe(residual=1), finetuned=TUNED)
    assert shelf(state).find("prefix", TOKENS, 0, Recipe(residual=1)) == state
    assert shelf(state).find("prefix", TOKENS, 0, PLAIN) is None
    assert shelf(state).find("postfix", TOKENS, 0, Recipe(residual=1)) is None
    assert shelf(state).find("prefix", TOKENS, 0, Recipe(residual=1), state.id) == state
    assert shelf(state).find("prefix", TOKENS, 0, Recipe(residual=1), "0" * 64) is None


def test_among_a_thousand_states_that_begin_alike_the_one_that_fits_is_found() -> None:
    alike = [card("prefix", (*TOKENS, 1, number, 2)) for number in range(1000)]
    full = shelf(*alike, card("postfix", (*TOKENS, 1), 2))
    for number in (0, 500, 999):
        assert full.find("prefix", (*TOKENS, 1, number), 0, PLAIN) == alike[number]
    assert full.find("prefix", (*TOKENS, 1, 1000), 0, PLAIN) is None
    assert full.find("prefix", (*TOKENS, 1), 0, PLAIN) == min(alike, key=lambda each: each.id)


def test_a_shelf_is_the_same_as_another_of_the_same_cards_after_it_was_searched() -> None:
    searched = shelf(card("prefix", TOKENS))
    searched.find("prefix", TOKENS, 0, PLAIN)
    assert searched == shelf(card("prefix", TOKENS))
