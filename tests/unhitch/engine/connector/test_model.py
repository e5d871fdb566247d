"""The connector serves models whose layers keep keys and values of one shape, and states that have that shape."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unhitch.engine.connector.conftest import HEAD_SIZE, KV_HEADS, LAYERS, ROPE, HeaderOf
from unhitch.engine.connector.model import ModelShape, check_supported, serves_overlays
from unhitch.errors import EngineStartError, StateError
from unhitch.states.file import Layer, Rope

STATE = "5" * 64


@pytest.fixture
def shape(vllm_config: Any) -> ModelShape:
    return ModelShape.of(vllm_config.model_config)


def full(**changes: Any) -> Any:
    """vLLM's own specification of a layer of the tiny model."""
    import torch
    from vllm.v1.kv_cache_interface import FullAttentionSpec

    fields = {"block_size": 32, "num_kv_heads": KV_HEADS, "head_size": HEAD_SIZE, "dtype": torch.float32}
    return FullAttentionSpec(**(fields | changes))


def sliding(**changes: Any) -> Any:
    import torch
    from vllm.v1.kv_cache_interface import SlidingWindowSpec

    fields = {"block_size": 32, "num_kv_heads": KV_HEADS, "head_size": HEAD_SIZE, "dtype": torch.float32}
    return SlidingWindowSpec(**(fields | {"sliding_window": 64} | changes))


def mla() -> Any:
    import torch
    from vllm.v1.kv_cache_interface import MLAAttentionSpec

    return MLAAttentionSpec(block_size=32, num_kv_heads=1, head_size=576, dtype=torch.float32)


def mamba() -> Any:
    import torch
    from vllm.v1.kv_cache_interface import MambaSpec

    return MambaSpec(block_size=32, shapes=((4, 8),), dtypes=(torch.float32,))


def cache_config(*groups: tuple[Any, Sequence[int]]) -> Any:
    """vLLM's configuration of the KV cache: groups of layers, each with its specification."""
    from vllm.v1.kv_cache_interface import KVCacheConfig, KVCacheGroupSpec

    made = [KVCacheGroupSpec([f"model.layers.{n}.self_attn.attn" for n in layers], spec) for spec, layers in groups]
    return KVCacheConfig(num_blocks=4, kv_cache_tensors=[], kv_cache_groups=made)


ALL = tuple(range(LAYERS))


def test_the_shape_of_a_model_is_read_from_vllms_configuration(shape: ModelShape) -> None:
    assert shape.layers == (Layer(kv_heads=KV_HEADS, head_size=HEAD_SIZE, rope=0),) * LAYERS
    assert shape.rope[0].inverse_frequencies == pytest.approx(ROPE.inverse_frequencies)
    assert not shape.depends_on_length


def test_a_state_of_the_same_model_fits(shape: ModelShape, header_of: HeaderOf) -> None:
    shape.check(STATE, header_of([1]))


def test_another_library_may_round_frequencies_otherwise(shape: ModelShape, header_of: HeaderOf) -> None:
    rounded = Rope(inverse_frequencies=tuple(value * (1 + 1e-6) for value in ROPE.inverse_frequencies))
    shape.check(STATE, header_of([1], rope=(rounded,)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"layers": (Layer(kv_heads=KV_HEADS, head_size=HEAD_SIZE, rope=0),) * 2}, "has 2 layers"),
        ({"layers": (Layer(kv_heads=4, head_size=HEAD_SIZE, rope=0),) * LAYERS}, "4 KV heads"),
        ({"layers": (Layer(kv_heads=KV_HEADS, head_size=64, rope=0),) * LAYERS}, "of size 64"),
        ({"rope": (Rope(inverse_frequencies=ROPE.inverse_frequencies[:-1]),)}, "RoPE"),
        ({"rope": (Rope(inverse_frequencies=()),)}, "RoPE"),
        ({"rope": (ROPE.model_copy(update={"interleaved": True}),)}, "RoPE"),
        ({"rope": (Rope(inverse_frequencies=tuple(2 * one for one in ROPE.inverse_frequencies)),)}, "in layer 0"),
    ],
)
def test_a_state_of_another_model_does_not_fit(
    shape: ModelShape, header_of: HeaderOf, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(StateError, match=words) as raised:
        shape.check(STATE, header_of([1], **changes))
    assert STATE in raised.value.message


def test_frequencies_that_depend_on_lengths_are_the_engines_own(shape: ModelShape, header_of: HeaderOf) -> None:
    dependent = ModelShape(shape.layers, shape.rope, depends_on_length=True)
    dependent.check(STATE, header_of([1], made_with={"vllm": "0.32.0"}))
    with pytest.raises(StateError, match="have the engine capture it"):
        dependent.check(STATE, header_of([1], made_with={"transformers": "5.19.0"}))


def test_models_with_full_and_sliding_layers_are_served(vllm_config: Any) -> None:
    check_supported(vllm_config, cache_config((full(), ALL)))
    check_supported(vllm_config, cache_config((full(), (0, 2)), (sliding(), (1,))))


def test_layers_of_one_group_may_each_have_a_specification(vllm_config: Any) -> None:
    from vllm.v1.kv_cache_interface import UniformTypeKVCacheSpecs

    names = [f"model.layers.{number}.self_attn.attn" for number in ALL]
    each = UniformTypeKVCacheSpecs(block_size=32, kv_cache_specs=dict.fromkeys(names, full()))
    check_supported(vllm_config, cache_config((each, ALL)))


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (lambda: [(mla(), ALL)], r"MLAAttentionSpec \(MLA: keys and values are kept compressed\)"),
        (lambda: [(full(), (0, 2)), (mamba(), (1,))], r"MambaSpec \(state space or linear attention"),
        (lambda: [(full(), (0, 1))], "only 2 of its 3 layers have K/V of their own"),
        (lambda: [(full(), (0, 1)), (full(head_size=64), (2,))], "KV heads of several shapes"),
    ],
)
def test_layers_that_cannot_be_served_are_named_at_start(vllm_config: Any, groups: Any, words: str) -> None:
    with pytest.raises(EngineStartError, match=words) as raised:
        check_supported(vllm_config, cache_config(*groups()))
    assert "Start vLLM without it" in raised.value.message


@pytest.mark.parametrize(
    ("section", "name", "value", "words"),
    [
        ("parallel_config", "pipeline_parallel_size", 2, "pipeline_parallel_size is 2"),
        ("parallel_config", "decode_context_parallel_size", 4, "decode_context_parallel_size is 4"),
        ("cache_config", "cache_dtype", "fp8", r"quantized \(fp8\)"),
        ("kv_transfer_config", "kv_load_failure_policy", "recompute", "must be `fail`"),
    ],
)
def test_settings_that_cannot_be_served_are_named_at_start(
    vllm_config: Any, monkeypatch: pytest.MonkeyPatch, section: str, name: str, value: Any, words: str
) -> None:
    monkeypatch.setattr(getattr(vllm_config, section), name, value)
    with pytest.raises(EngineStartError, match=words):
        check_supported(vllm_config, cache_config((full(), ALL)))


@pytest.mark.parametrize("name", ["fuse_rope_kvcache", "fuse_qk_norm_rope_kvcache"])
def test_a_pass_of_the_compiler_that_hides_keys_is_named(
    vllm_config: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(vllm_config.compilation_config.pass_config, name, True, raising=False)
    with pytest.raises(EngineStartError, match=name):
        check_supported(vllm_config, cache_config((full(), ALL)))


@pytest.mark.parametrize(("method", "served"), [("ngram", True), ("suffix", True), ("eagle3", False)])
def test_a_draft_model_would_read_the_prefix_unpatched(
    vllm_config: Any, monkeypatch: pytest.MonkeyPatch, method: str, served: bool
) -> None:
    monkeypatch.setattr(vllm_config, "speculative_config", SimpleNamespace(method=method))
    if served:
        check_supported(vllm_config, cache_config((full(), ALL)))
    else:
        with pytest.raises(EngineStartError, match=rf"a draft model \({method}\)"):
            check_supported(vllm_config, cache_config((full(), ALL)))


def test_all_that_is_in_the_way_is_said_at_once(vllm_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vllm_config.parallel_config, "pipeline_parallel_size", 2)
    monkeypatch.setattr(vllm_config.cache_config, "cache_dtype", "fp8")
    with pytest.raises(EngineStartError, match=r"pipeline_parallel_size.*; .*quantized"):
        check_supported(vllm_config, cache_config((full(), ALL)))


def test_overlays_are_served_unless_they_are_turned_off(vllm_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert serves_overlays(vllm_config)
    monkeypatch.setitem(vllm_config.kv_transfer_config.kv_connector_extra_config, "overlays", False)
    assert not serves_overlays(vllm_config)


def test_overlays_are_not_served_where_keys_cannot_be_moved(vllm_config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    dynamic = {"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 2.0}
    monkeypatch.setattr(vllm_config.model_config.hf_text_config, "rope_parameters", dynamic)
    assert not serves_overlays(vllm_config)
