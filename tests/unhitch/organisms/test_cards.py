import pytest

from unhitch.organisms import NAMES, path
from unhitch.organisms.cards import card
from unhitch.organisms.families import FAMILIES, Family


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_card_is_the_one_in_the_source(name: str) -> None:
    assert (path(name) / "README.md").read_text(encoding="utf-8") == card(name)


@pytest.mark.parametrize("name", NAMES)
def test_a_card_warns_that_its_model_is_a_test_object(name: str) -> None:
    assert "It is a test object" in card(name)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)
def test_a_finetuned_models_card_names_its_base_and_says_whether_it_is_an_adapter(family: Family) -> None:
    lines = card(family.finetuned).splitlines()
    assert f"base_model: {family.base}" in lines
    assert ("library_name: peft" in lines) == (family.recipe.finetuning.adapter is not None)
