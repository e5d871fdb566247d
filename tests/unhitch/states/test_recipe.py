import json

import pytest
from pydantic import ValidationError

from unhitch.states.recipe import Recipe


def test_the_plain_recipe_alone_needs_no_finetuned_model() -> None:
    assert not Recipe().needs_finetuned
    for recipe in (Recipe(layers=(0, 3)), Recipe(parts="k"), Recipe(mix=0.5), Recipe(residual=0)):
        assert recipe.needs_finetuned


@pytest.mark.parametrize("recipe", [Recipe(), Recipe(layers=(2, 5), parts="v", mix=0.25), Recipe(residual=3)])
def test_a_recipe_survives_json(recipe: Recipe) -> None:
    assert Recipe.model_validate(json.loads(recipe.model_dump_json())) == recipe


@pytest.mark.parametrize(
    "values",
    [
        {"layers": (3, 2)},
        {"layers": (-1, 2)},
        {"layers": (1, 2, 3)},
        {"parts": "q"},
        {"mix": 0.0},
        {"mix": 1.5},
        {"residual": -1},
        {"residual": 1, "layers": (0, 1)},
        {"residual": 1, "parts": "k"},
        {"residual": 1, "mix": 0.5},
        {"layer": 1},
    ],
)
def test_what_is_no_recipe_is_refused(values: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Recipe.model_validate(values)


def test_a_recipe_shows_what_is_not_the_default() -> None:
    assert str(Recipe()) == "all layers, k and v"
    assert str(Recipe(layers=(8, 15), parts="k", mix=0.5)) == "layers 8-15, parts k, mix 0.5"
    assert str(Recipe(residual=0)) == "residual 0"
