from typing import Any

import pytest
import torch

from tests.unhitch.states.tiny_models import LAYERS, TOKENS, config_of, model_of
from unhitch.errors import StateError
from unhitch.states.file import Rope
from unhitch.states.rope import from_config, require_rotatable, rotate

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64, "rope_theta": 10000.0}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
    "rope_theta": 500.0,
}
LINEAR = {"rope_type": "linear", "factor": 3.0, "rope_theta": 10000.0}
LOCAL_AND_GLOBAL = {
    "sliding_attention": {"rope_type": "default", "rope_theta": 100.0},
    "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 10000.0},
}

ROTATED: dict[str, tuple[str, dict[str, Any]]] = {
    "Qwen2": ("Qwen2", {}),
    "Qwen3": ("Qwen3", {}),
    "Llama": ("Llama", {}),
    "Gemma 3, local and global": ("Gemma3", {"rope_parameters": LOCAL_AND_GLOBAL}),
    "Llama with llama3 scaling": ("Llama", {"rope_parameters": LLAMA3}),
    "Qwen2 with yarn": ("Qwen2", {"rope_parameters": YARN}),
    "Llama with linear scaling": ("Llama", {"rope_parameters": LINEAR}),
    "Phi, of part of a head": ("Phi", {"partial_rotary_factor": 0.5}),
    "GLM, interleaved, of part of a head": ("Glm", {"partial_rotary_factor": 0.5}),
    "Cohere, interleaved": ("Cohere", {}),
    "Helium, interleaved": ("Helium", {"hidden_size": 64}),
    "SmolLM3, not in all layers": ("SmolLM3", {"no_rope_layers": [1, 0, 1]}),
    "Cohere 2, in sliding layers alone": (
        "Cohere2",
        {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "EXAONE 4, in sliding layers alone": (
        "Exaone4",
        {"sliding_window": 6, "layer_types": ["sliding_attention", "full_attention", "sliding_attention"]},
    ),
    "EXAONE 4 that never slides": ("Exaone4", {"sliding_window": None, "layer_types": ["full_attention"] * LAYERS}),
}


def keys_at(model: Any, first: int) -> list[torch.Tensor]:
    from transformers import DynamicCache

    cache = DynamicCache()
    positions = torch.arange(first, first + len(TOKENS))[None]
    with torch.no_grad():
        model(torch.tensor([TOKENS]), position_ids=positions, past_key_values=cache, use_cache=True)
    return [layer.keys[0].transpose(0, 1) for layer in cache.layers]


@pytest.mark.parametrize("name", ROTATED)
@pytest.mark.parametrize("by", [29, -40])
def test_rotated_keys_are_those_that_the_model_computes_at_other_positions(name: str, by: int) -> None:
    kind, changes = ROTATED[name]
    config = config_of(kind, **changes)
    require_rotatable(config)
    model = model_of(config)
    embeddings, of_layer = from_config(config, LAYERS)
    here, there = keys_at(model, 50), keys_at(model, 50 + by)
    for layer in range(LAYERS):
        moved = rotate(here[layer], embeddings[of_layer[layer]], by)
        torch.testing.assert_close(moved, there[layer], rtol=1e-4, atol=1e-4)
    assert not torch.allclose(here[0], there[0], atol=0.1)


def test_layers_share_the_rotary_embeddings_that_are_equal() -> None:
    embeddings, of_layer = from_config(config_of("Gemma3", rope_parameters=LOCAL_AND_GLOBAL), LAYERS)
    assert of_layer == (0, 0, 1)
    assert len(embeddings) == 2
    assert from_config(config_of("Llama"), LAYERS)[1] == (0, 0, 0)


def test_a_layer_without_one_has_none() -> None:
    embeddings, of_layer = from_config(config_of("SmolLM3", no_rope_layers=[1, 0, 1]), LAYERS)
    assert of_layer == (0, 1, 0)
    assert embeddings[1] == Rope(inverse_frequencies=())


def test_the_configuration_is_not_changed_and_gives_the_same_again() -> None:
    config = config_of("Llama", rope_parameters=LLAMA3)
    before = config.to_dict()
    assert from_config(config, LAYERS) == from_config(config, LAYERS)
    require_rotatable(config)
    assert config.to_dict() == before


def test_the_language_model_of_a_model_of_several_parts_counts() -> None:
    from transformers import Gemma3Config

    text = config_of("Gemma3", rope_parameters=LOCAL_AND_GLOBAL)
    assert from_config(Gemma3Config(text_config=text.to_dict()), LAYERS) == from_config(text, LAYERS)


def test_multimodal_sections_of_text_are_the_plain_embedding() -> None:
    plain = config_of("Llama")
    sections = config_of("Llama")
    sections.rope_parameters = plain.rope_parameters | {"rope_type": "mrope", "mrope_section": [2, 3, 3]}
    assert from_config(sections, LAYERS) == from_config(plain, LAYERS)


@pytest.mark.parametrize(
    "parameters",
    [
        {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4},
        {
            "rope_type": "longrope",
            "factor": 2.0,
            "rope_theta": 1e4,
            "short_factor": [1.0] * 8,
            "long_factor": [2.0] * 8,
            "original_max_position_embeddings": 64,
        },
    ],
)
def test_keys_whose_rotation_depends_on_the_length_cannot_be_moved(parameters: dict[str, Any]) -> None:
    config = config_of("Llama", rope_parameters=parameters)
    with pytest.raises(StateError, match=f"{parameters['rope_type']}.*prefix state"):
        require_rotatable(config)
    assert len(from_config(config, LAYERS)[0][0].inverse_frequencies) == 8


def test_keys_of_a_model_without_rotary_embeddings_cannot_be_moved() -> None:
    from transformers import GPT2Config

    with pytest.raises(StateError, match="gpt2 have no rotary embeddings"):
        require_rotatable(GPT2Config())
    assert from_config(GPT2Config(), 2) == ((Rope(inverse_frequencies=()),), (0, 0))


def test_an_unknown_kind_is_an_error_that_lists_the_known_ones() -> None:
    config = config_of("Llama")
    config.rope_parameters = {"rope_type": "spiral", "rope_theta": 1.0}
    with pytest.raises(StateError, match=r"spiral.*llama3"):
        from_config(config, LAYERS)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("interleaved", [False, True])
def test_half_precision_is_rotated_in_float32_and_rounded_once(dtype: torch.dtype, interleaved: bool) -> None:
    rope = Rope(inverse_frequencies=(1.0, 0.25, 0.01), interleaved=interleaved)
    keys = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(0)).to(dtype)
    moved = rotate(keys, rope, 1000)
    assert moved.dtype == dtype
    assert torch.equal(moved, rotate(keys.float(), rope, 1000).to(dtype))
    assert torch.equal(moved[..., 6:], keys[..., 6:])


def test_there_and_back_is_where_it_was() -> None:
    rope = Rope(inverse_frequencies=(1.0, 0.1, 0.01, 0.001))
    keys = torch.randn(5, 2, 8, generator=torch.Generator().manual_seed(0))
    before = keys.clone()
    torch.testing.assert_close(rotate(rotate(keys, rope, 4321), rope, -4321), before)
    assert torch.equal(keys, before)
    assert rotate(keys, rope, 0) is keys


def test_more_dimensions_than_a_key_has_are_an_error() -> None:
    with pytest.raises(StateError, match="turns 6 dimensions, and keys have 4"):
        rotate(torch.zeros(1, 1, 4), Rope(inverse_frequencies=(1.0, 1.0, 1.0)), 1)
