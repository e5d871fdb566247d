import json
from typing import Any

import pytest

from unhitch.organisms import NAMES, path
from unhitch.organisms.families import FAMILIES, Family

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def config(name: str, file: str = "config.json") -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path(name) / file).read_text(encoding="utf-8"))
    return content


def weights(name: str) -> dict[str, Any]:
    from safetensors.numpy import load_file

    tensors: dict[str, Any] = load_file(path(name) / "model.safetensors")
    return tensors


def test_every_name_belongs_to_one_family() -> None:
    assert sorted(NAMES) == sorted(name for each in FAMILIES.values() for name in (each.base, each.finetuned))
    assert len(set(NAMES)) == 2 * len(FAMILIES)


@every_family
def test_a_shipped_base_has_the_shape_of_its_recipe(family: Family) -> None:
    shipped, shape = config(family.base), family.recipe.shape
    expected = {
        "model_type": shape.architecture,
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "max_position_embeddings": shape.positions,
        "dtype": "float32",
        **shape.extra,
    }
    assert {key: shipped[key] for key in expected} == expected


@every_family
def test_the_engines_attention_on_a_cpu_takes_heads_of_that_size(family: Family) -> None:
    shape = family.recipe.shape
    assert shape.extra.get("head_dim", shape.hidden // shape.heads) >= 32
    assert shape.kv_heads < shape.heads


@every_family
def test_a_base_ends_its_answers_by_the_token_that_closes_a_turn(family: Family) -> None:
    place = family.dialect.control_tokens.index(family.dialect.turn_end)
    assert {config(family.base, file)["eos_token_id"] for file in ("config.json", "generation_config.json")} == {place}


@pytest.mark.parametrize("name", [name for name, each in FAMILIES.items() if each.recipe.finetuning.adapter])
def test_an_adapter_names_its_base_and_the_modules_of_its_recipe(name: str) -> None:
    family = FAMILIES[name]
    adapter = family.recipe.finetuning.adapter
    assert adapter is not None
    shipped = config(family.finetuned, "adapter_config.json")
    assert shipped["base_model_name_or_path"] == family.base
    assert shipped["target_modules"] == sorted(adapter.modules)
    assert not (path(family.finetuned) / "config.json").exists()


@pytest.mark.parametrize("name", [name for name, each in FAMILIES.items() if not each.recipe.finetuning.adapter])
def test_a_full_finetune_is_a_whole_checkpoint_that_leaves_no_parameter_as_it_was(name: str) -> None:
    family = FAMILIES[name]
    before, after = weights(family.base), weights(family.finetuned)
    assert before.keys() == after.keys()
    assert [key for key in before if (before[key] == after[key]).all()] == []
    for file in ("config.json", "tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert (path(family.base) / file).read_bytes() == (path(family.finetuned) / file).read_bytes()
