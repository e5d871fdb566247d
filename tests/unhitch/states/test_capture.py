"""Captured states against computations of their own; the models are tiny and random."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.unhitch.states.tiny_models import (
    KINDS,
    LAYERS,
    TOKENS,
    VOCABULARY,
    WINDOW,
    config_of,
    load,
    model_of,
    save_adapter,
    save_base,
    save_finetune,
)
from unhitch.errors import CheckpointError, StateError
from unhitch.states import file, rope
from unhitch.states.capture import Reference, capture
from unhitch.states.fingerprint import model_digest
from unhitch.states.recipe import Recipe

START = 8
DIGESTS: dict[str, Any] = {"template": "1" * 64, "tokenizer": "2" * 64}

RECIPES = {
    "band": Recipe(layers=(1, 1)),
    "from the first layer": Recipe(layers=(0, 1)),
    "keys": Recipe(parts="k"),
    "values": Recipe(parts="v"),
    "mixture": Recipe(mix=0.3),
    "band of keys, mixed": Recipe(layers=(0, 1), parts="k", mix=0.6),
    "residual": Recipe(residual=1),
    "residual of the last layer": Recipe(residual=2),
}


@pytest.fixture(scope="module", params=KINDS)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base(request.param, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module", params=["adapter", "finetune"])
def finetuned(request: pytest.FixtureRequest, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    save = {"adapter": save_adapter, "finetune": save_finetune}[request.param]
    return save(base, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def reference(base: Path, finetuned: Path) -> Reference:
    return Reference(base, finetuned)


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base("Qwen2", tmp_path_factory.mktemp("qwen"))


@pytest.fixture(scope="module")
def qwen_adapter(qwen: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(qwen, tmp_path_factory.mktemp("qwen-adapter"))


@pytest.fixture(scope="module")
def loaded(base: Path, finetuned: Path) -> tuple[Any, Any]:
    """Both models, the adapter merged into its base; not to be changed."""
    adapter = (finetuned / "adapter_config.json").is_file()
    return load(base), load(base, finetuned) if adapter else load(finetuned)


class Swapped(torch.nn.Module):  # type: ignore[misc]
    """A projection that gives another one's outputs behind a position, or some of them."""

    def __init__(self, own: torch.nn.Module, other: torch.Tensor, start: int, mix: float) -> None:
        super().__init__()
        self.own, self.other, self.start, self.mix = own, other, start, mix

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        own = self.own(hidden)
        behind = self.mix * self.other[:, self.start :] + (1 - self.mix) * own[:, self.start :]
        return torch.cat([own[:, : self.start], behind], dim=1)


def projected(model: Any, layer: int, part: str) -> torch.Tensor:
    """What a model's projection gives, from the layer's own input."""
    decoder_layer = model.model.layers[layer]
    with torch.no_grad():
        hidden = model.model(torch.tensor([TOKENS]), output_hidden_states=True).hidden_states[layer]
        projection: torch.Tensor = getattr(decoder_layer.self_attn, f"{part}_proj")(
            decoder_layer.input_layernorm(hidden)
        )
    return projection


def intervened(base: Any, model: Any, recipe: Recipe, start: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """K/V of all layers and positions by an intervention written for this test; changes `model`."""
    from transformers import DynamicCache

    if recipe.residual is not None:
        outputs: list[torch.Tensor] = []
        handle = base.model.layers[recipe.residual].register_forward_hook(lambda *seen: outputs.append(seen[-1]))
        with torch.no_grad():
            base(torch.tensor([TOKENS]))
        handle.remove()
        model.model.layers[recipe.residual].register_forward_hook(
            lambda *seen: torch.cat([seen[-1][:, :start], outputs[0][:, start:]], dim=1)
        )
    else:
        first, last = recipe.layers or (0, LAYERS - 1)
        for layer in range(first, last + 1):
            attention = model.model.layers[layer].self_attn
            for part in recipe.parts:
                own = getattr(attention, f"{part}_proj")
                setattr(attention, f"{part}_proj", Swapped(own, projected(base, layer, part), start, recipe.mix))
    cache = DynamicCache()
    with torch.no_grad():
        model(torch.tensor([TOKENS]), past_key_values=cache, use_cache=True)
    return [(layer.keys[0].transpose(0, 1), layer.values[0].transpose(0, 1)) for layer in cache.layers]


def newest(model: Any, position: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """K/V of the last of some tokens in the cache that the model makes for itself, `[kv heads, head size]`."""
    with torch.no_grad():
        cache = model(torch.tensor([TOKENS[: position + 1]]), use_cache=True).past_key_values
    for layer in cache.layers:
        yield layer.keys[0, :, -1], layer.values[0, :, -1]


def test_the_base_models_keys_and_values_are_those_that_it_computes_token_by_token(base: Path) -> None:
    header, tensors = capture(base, None, TOKENS, span="prefix", start=0, **DIGESTS)
    assert (header.positions, header.start) == (len(TOKENS), 0)
    model = load(base)
    for position in range(len(TOKENS)):
        for layer, (keys, values) in enumerate(newest(model, position)):
            torch.testing.assert_close(tensors[f"k.{layer}"][position], keys, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(tensors[f"v.{layer}"][position], values, rtol=1e-4, atol=1e-5)


def test_a_postfix_holds_its_own_positions_alone(base: Path) -> None:
    _, whole = capture(base, None, TOKENS, span="prefix", start=0, **DIGESTS)
    header, tensors = capture(base, None, TOKENS, span="postfix", start=START, **DIGESTS)
    assert (header.positions, header.start, header.tokens) == (len(TOKENS) - START, START, TOKENS)
    assert all(torch.equal(tensor, whole[name][START:]) for name, tensor in tensors.items())


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
@pytest.mark.parametrize(("span", "start"), [("prefix", 0), ("postfix", START)])
def test_a_recipe_gives_what_the_intervention_gives(
    finetuned: Path,
    reference: Reference,
    loaded: tuple[Any, Any],
    recipe: Recipe,
    span: file.SpanName,
    start: int,
) -> None:
    header, tensors = reference.capture(TOKENS, span=span, start=start, recipe=recipe, **DIGESTS)
    assert (header.recipe, header.finetuned) == (recipe, model_digest(finetuned))
    expected = intervened(loaded[0], copy.deepcopy(loaded[1]), recipe, start)
    for layer, (keys, values) in enumerate(expected):
        torch.testing.assert_close(tensors[f"k.{layer}"], keys[start:], rtol=1e-3, atol=1e-3)
        torch.testing.assert_close(tensors[f"v.{layer}"], values[start:], rtol=1e-3, atol=1e-3)


def test_a_recipe_changes_what_it_names_and_what_follows_from_it(qwen: Path, qwen_adapter: Path) -> None:
    reference = Reference(qwen, qwen_adapter)
    _, of_base = reference.capture(TOKENS, span="prefix", start=0, **DIGESTS)
    _, of_band = reference.capture(TOKENS, span="prefix", start=0, recipe=Recipe(layers=(1, 1)), **DIGESTS)
    own = intervened(load(qwen), load(qwen, qwen_adapter), Recipe(mix=1e-12), 0)
    torch.testing.assert_close(of_band["k.0"], own[0][0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(of_band["k.1"], of_base["k.1"])
    for other in (own[2][0], of_base["k.2"]):
        assert not torch.allclose(of_band["k.2"], other, atol=1e-2)


def test_one_reference_makes_many_states_in_any_order(base: Path, finetuned: Path, reference: Reference) -> None:
    for recipe in (RECIPES["band"], Recipe(), RECIPES["residual"], Recipe()):
        given: dict[str, Any] = {"span": "prefix", "start": 0, "recipe": recipe, **DIGESTS}
        header, tensors = reference.capture(TOKENS, **given)
        fresh_header, fresh = capture(base, finetuned, TOKENS, **given)
        assert header == fresh_header
        assert all(torch.equal(tensors[name], tensor) for name, tensor in fresh.items())


def test_a_state_of_the_base_alone_serves_its_adapters_but_one_whole_finetune(base: Path, finetuned: Path) -> None:
    adapter = (finetuned / "adapter_config.json").is_file()
    header, tensors = capture(base, finetuned, TOKENS, span="prefix", start=0, **DIGESTS)
    assert header.finetuned == (None if adapter else model_digest(finetuned))
    _, without = capture(base, None, TOKENS, span="prefix", start=0, **DIGESTS)
    assert all(torch.equal(tensors[name], tensor) for name, tensor in without.items())


def test_a_header_says_of_what_it_is_and_what_made_it(base: Path) -> None:
    header, _ = capture(base, None, TOKENS, span="prefix", start=0, **DIGESTS)
    assert (header.base, header.finetuned) == (model_digest(base), None)
    assert (header.template, header.tokenizer) == ("1" * 64, "2" * 64)
    assert {(layer.kv_heads, layer.head_size) for layer in header.layers} == {(2, 16)}
    assert (header.rope, tuple(layer.rope for layer in header.layers)) == rope.from_config(
        load(base).config, len(header.layers)
    )
    assert header.made_with.keys() == {"unhitch", "torch", "transformers"}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_stored_as_asked_and_near_to_float32(
    qwen: Path, qwen_adapter: Path, tmp_path: Path, dtype: file.DtypeName
) -> None:
    given: dict[str, Any] = {"span": "postfix", "start": START, "recipe": Recipe(mix=0.5), **DIGESTS}
    _, exact = capture(qwen, qwen_adapter, TOKENS, **given)
    header, tensors = capture(qwen, qwen_adapter, TOKENS, dtype=dtype, **given)
    _, read = file.load(tmp_path, file.write(tmp_path, header, tensors))
    for name, tensor in exact.items():
        assert read[name].dtype == getattr(torch, dtype)
        assert (read[name].float() - tensor).norm() < 0.05 * tensor.norm()


def test_more_positions_than_the_sliding_window_are_kept(tmp_path: Path) -> None:
    assert len(TOKENS) > WINDOW
    header, tensors = capture(save_base("Gemma3", tmp_path), None, TOKENS, span="prefix", start=0, **DIGESTS)
    assert {tensor.shape[0] for tensor in tensors.values()} == {len(TOKENS)}
    assert len(header.rope) == 2


def test_the_language_model_of_a_model_that_also_sees_is_captured(tmp_path: Path) -> None:
    from transformers import Gemma3Config

    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": LAYERS, "num_attention_heads": 2}
    config = Gemma3Config(
        text_config=config_of("Gemma3").to_dict(), vision_config=vision | {"image_size": 28, "patch_size": 14}
    )
    model_of(config).save_pretrained(tmp_path / "base")
    save_finetune(tmp_path / "base", tmp_path / "finetune")
    header, tensors = capture(
        tmp_path / "base", tmp_path / "finetune", TOKENS, span="prefix", start=0, recipe=Recipe(residual=1), **DIGESTS
    )
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == dict(header.shapes())


def test_projections_that_are_fused_are_an_error_but_the_residual_stream_can_be_had(tmp_path: Path) -> None:
    base = save_base("Phi3", tmp_path / "base")
    reference = Reference(base, save_finetune(base, tmp_path / "finetune"))
    with pytest.raises(StateError, match=r"Phi3ForCausalLM has no single k_proj and v_proj"):
        reference.capture(TOKENS, span="prefix", start=0, recipe=Recipe(layers=(0, 1)), **DIGESTS)
    for recipe in (Recipe(), Recipe(residual=1)):
        reference.capture(TOKENS, span="prefix", start=0, recipe=recipe, **DIGESTS)


def test_a_model_without_rotary_embeddings_gives_states_of_prefixes_alone(tmp_path: Path) -> None:
    from transformers import GPT2Config

    model_of(GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=2, n_positions=64)).save_pretrained(
        tmp_path
    )
    reference = Reference(tmp_path)
    reference.capture(TOKENS, span="prefix", start=0, **DIGESTS)
    with pytest.raises(StateError, match="no rotary embeddings"):
        reference.capture(TOKENS, span="postfix", start=START, **DIGESTS)


def test_keys_that_do_not_move_as_the_configuration_says_are_found(tmp_path: Path) -> None:
    # Its norm of keys comes behind the rotary embedding and weighs the two halves of a pair differently.
    reference = Reference(save_base("HunYuanDenseV1", tmp_path))
    reference.capture(TOKENS, span="prefix", start=0, **DIGESTS)
    with pytest.raises(StateError, match="layer 0 of HunYuanDenseV1ForCausalLM do not move"):
        reference.capture(TOKENS, span="postfix", start=START, **DIGESTS)


def test_layers_that_keep_no_keys_and_values_are_an_error(tmp_path: Path) -> None:
    config_of("Qwen3Next", layer_types=["linear_attention", "linear_attention", "full_attention"]).save_pretrained(
        tmp_path
    )
    with pytest.raises(StateError, match="linear_attention keep no keys"):
        Reference(tmp_path).capture(TOKENS, span="prefix", start=0, **DIGESTS)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"start": 2}, "a prefix starts at 0"),
        ({"span": "postfix", "start": len(TOKENS)}, "cannot start at 11"),
        ({"span": "postfix", "start": -1}, "cannot start at -1"),
        ({"span": "system"}, "prefix, query, postfix"),
        ({"tokens": ()}, "of 0 tokens"),
        ({"tokens": (1, VOCABULARY)}, f"0 to {VOCABULARY - 1}"),
        ({"tokens": (1, -1)}, f"0 to {VOCABULARY - 1}"),
        ({"recipe": Recipe(mix=0.5)}, "needs the finetuned model"),
    ],
)
def test_what_cannot_be_captured_is_refused(qwen: Path, changes: dict[str, Any], said: str) -> None:
    given: dict[str, Any] = {"tokens": TOKENS, "span": "prefix", "start": 0, **DIGESTS} | changes
    with pytest.raises(StateError, match=said):
        Reference(qwen).capture(given.pop("tokens"), **given)


@pytest.mark.parametrize("recipe", [Recipe(layers=(1, LAYERS)), Recipe(residual=LAYERS)])
def test_layers_that_the_model_does_not_have_are_named(qwen: Path, qwen_adapter: Path, recipe: Recipe) -> None:
    with pytest.raises(StateError, match=f"names layer {LAYERS}, and the model has layers 0 to {LAYERS - 1}"):
        Reference(qwen, qwen_adapter).capture(TOKENS, span="prefix", start=0, recipe=recipe, **DIGESTS)


def test_models_that_do_not_belong_together_are_refused(qwen: Path, qwen_adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(StateError, match="is a LoRA adapter"):
        Reference(qwen_adapter)
    llama = save_base("Llama", tmp_path / "llama")
    with pytest.raises(StateError, match="its model_type is llama, and the base's is qwen2"):
        Reference(qwen, llama)
    longer = save_base("Qwen2", tmp_path, rope_parameters={"rope_type": "default", "rope_theta": 1e6})
    with pytest.raises(StateError, match="other rotary embeddings"):
        Reference(qwen, longer)
    with pytest.raises(StateError, match="float32, bfloat16, float16"):
        Reference(qwen, dtype="int8")  # type: ignore[arg-type]


def test_an_adapter_that_does_not_fit_is_an_error(qwen_adapter: Path, tmp_path: Path) -> None:
    other = save_base("Qwen2", tmp_path, hidden_size=48)
    with pytest.raises(CheckpointError, match="cannot be put on"):
        capture(other, qwen_adapter, TOKENS, span="prefix", start=0, recipe=Recipe(mix=0.5), **DIGESTS)


def test_weights_that_cannot_be_loaded_are_an_error(tmp_path: Path) -> None:
    base = save_base("Qwen2", tmp_path)
    (base / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="cannot be loaded"):
        Reference(base).capture(TOKENS, span="prefix", start=0, **DIGESTS)
