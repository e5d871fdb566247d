"""The served model as the connector needs to know it, and the kinds of model and configuration that it cannot serve."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from unhitch.errors import EngineStartError, StateError
from unhitch.states.file import Layer, Rope, StateHeader

_RELATIVE_TOLERANCE = 1e-5
"""Versions of a library may round frequencies differently."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """Shapes of the served model's K/V.

    Args:
        layers: Layer by layer, with the heads of all devices together.
        rope: The rotary embeddings that layers name.
        depends_on_length: Whether frequencies hang on lengths, of which vLLM takes others than transformers.
    """

    layers: tuple[Layer, ...]
    rope: tuple[Rope, ...]
    depends_on_length: bool = False

    @classmethod
    def of(cls, model_config: Any) -> ModelShape:
        """The shape of the model of vLLM's `ModelConfig`; `check_supported` sees that its layers do have it."""
        from unhitch.states import rope

        config = model_config.hf_text_config
        heads, size = model_config.get_total_num_kv_heads(), model_config.get_head_size()
        embeddings, of_layer = rope.from_config(config, config.num_hidden_layers)
        layers = tuple(Layer(kv_heads=heads, head_size=size, rope=index) for index in of_layer)
        return cls(layers, embeddings, rope.depends_on_length(config))

    def check(self, state: str, header: StateHeader) -> None:
        """Sees that a state has this model's shape.

        Raises:
            StateError: It has not; the message says in what.
        """
        if self.depends_on_length and "vllm" not in header.made_with:
            raise StateError(
                f"the state {state} was made offline, and this model's rotary embedding depends on lengths that vLLM "
                "counts in its own way; have the engine capture it"
            )
        ours = [(layer.kv_heads, layer.head_size) for layer in self.layers]
        theirs = [(layer.kv_heads, layer.head_size) for layer in header.layers]
        if ours != theirs:
            raise StateError(
                f"the state {state} has {_shape(theirs)}, and the served model {_shape(ours)}: it was made from "
                "another model"
            )
        for index, (one, other) in enumerate(zip(self.layers, header.layers, strict=True)):
            if not _same(self.rope[one.rope], header.rope[other.rope]):
                raise StateError(
                    f"the state {state} has other RoPE parameters in layer {index} than the served model: it was made "
                    "from another model, or the engine was started with other rope settings"
                )


def serves_overlays(vllm_config: Any) -> bool:
    """Whether states other than a prefix's can be served: it was asked for, and keys of the model can be moved."""
    from unhitch.states import rope

    if not vllm_config.kv_transfer_config.kv_connector_extra_config.get("overlays", True):
        return False
    try:
        rope.require_rotatable(vllm_config.model_config.hf_text_config)
    except StateError:
        return False
    return True


def check_supported(vllm_config: Any, kv_cache_config: Any) -> None:
    """Sees at start that this model and configuration can be served patched.

    Raises:
        EngineStartError: They cannot; the message names what is in the way.
    """
    if reasons := list(_unsupported(vllm_config, kv_cache_config)):
        raise EngineStartError(
            f"unhitch's connector cannot serve this model: {'; '.join(reasons)}. Start vLLM without it (no --states); "
            "strategies that edit the prompt work all the same."
        )


def _unsupported(vllm_config: Any, kv_cache_config: Any) -> Iterator[str]:
    for kind in sorted({type(spec).__name__ for _, spec in _layer_specs(kv_cache_config)} - set(_SUPPORTED)):
        yield f"it has layers of the kind {kind}{_KINDS.get(kind, '')}"
    yield from _irregular(vllm_config, kv_cache_config)
    parallel = vllm_config.parallel_config
    for name in ("pipeline_parallel_size", "decode_context_parallel_size", "prefill_context_parallel_size"):
        if getattr(parallel, name, 1) > 1:
            yield f"{name} is {getattr(parallel, name)}, and only tensor parallelism is supported"
    speculative = vllm_config.speculative_config
    if speculative is not None and speculative.method not in ("ngram", "suffix"):
        yield f"a draft model ({speculative.method}) would read the prefix unpatched"
    if vllm_config.cache_config.cache_dtype not in ("auto", "float16", "bfloat16", "float32"):
        yield f"the KV cache is quantized ({vllm_config.cache_config.cache_dtype})"
    for name in ("fuse_rope_kvcache", "fuse_qk_norm_rope_kvcache"):
        if getattr(vllm_config.compilation_config.pass_config, name, False):
            yield f"the compiler's pass {name} hides the rotated keys from it; turn it off with --compilation-config"
    if vllm_config.kv_transfer_config.kv_load_failure_policy != "fail":
        yield "kv_load_failure_policy must be `fail`, or a failed state would be served unpatched"


def _irregular(vllm_config: Any, kv_cache_config: Any) -> Iterator[str]:
    """What keeps the layers from having the one shape of `ModelShape.of`."""
    from vllm.model_executor.models.utils import extract_layer_index

    model, size = vllm_config.model_config, vllm_config.parallel_config.tensor_parallel_size
    specs = {extract_layer_index(name): spec for name, spec in _layer_specs(kv_cache_config)}
    if sorted(specs) != list(range(model.hf_text_config.num_hidden_layers)):
        yield f"only {len(specs)} of its {model.hf_text_config.num_hidden_layers} layers have K/V of their own"
    expected = max(1, model.get_total_num_kv_heads() // size), model.get_head_size()
    shapes = {(spec.num_kv_heads, spec.head_size) for spec in specs.values() if type(spec).__name__ in _SUPPORTED}
    if shapes - {expected}:
        yield f"its layers have KV heads of several shapes ({_shape(sorted(shapes))})"


_SUPPORTED = ("FullAttentionSpec", "SlidingWindowSpec")
_KINDS = {
    "MLAAttentionSpec": " (MLA: keys and values are kept compressed)",
    "SlidingWindowMLASpec": " (MLA: keys and values are kept compressed)",
    "MambaSpec": " (state space or linear attention: no K/V of single positions)",
    "CrossAttentionSpec": " (cross attention)",
    "ChunkedLocalAttentionSpec": " (chunked local attention)",
}


def _layer_specs(kv_cache_config: Any) -> Iterator[tuple[str, Any]]:
    """Name and KV cache spec of every layer."""
    for group in kv_cache_config.kv_cache_groups:
        each = getattr(group.kv_cache_spec, "kv_cache_specs", None)  # UniformTypeKVCacheSpecs: one a layer
        for name in group.layer_names:
            yield name, each[name] if each else group.kv_cache_spec


def _shape(layers: list[tuple[int, int]]) -> str:
    heads, sizes = ({layer[index] for layer in layers} for index in (0, 1))
    return f"{len(layers)} layers of {_joined(heads)} KV heads of size {_joined(sizes)}"


def _joined(numbers: set[int]) -> str:
    return " or ".join(map(str, sorted(numbers)))


def _same(one: Rope, other: Rope) -> bool:
    pairs = list(zip(one.inverse_frequencies, other.inverse_frequencies, strict=False))
    return (
        len(one.inverse_frequencies) == len(other.inverse_frequencies) == len(pairs)
        and one.interleaved == other.interleaved
        and all(abs(a - b) <= _RELATIVE_TOLERANCE * abs(a) for a, b in pairs)
    )
