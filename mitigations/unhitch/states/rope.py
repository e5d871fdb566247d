"""Rotary embeddings of a model, from its configuration alone, and keys moved by them to other positions.

Offline capture and the engine both derive them here, and compare.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from unhitch.errors import StateError
from unhitch.states.file import Rope

if TYPE_CHECKING:
    import torch

LENGTH_DEPENDENT = ("dynamic", "longrope")
"""Kinds of rotary embedding whose frequencies depend on the length of the whole sequence."""

_INTERLEAVED = frozenset(
    (
        *("blt", "cohere", "cohere2", "cohere2_moe", "ernie4_5", "ernie4_5_moe", "ernie4_5_vl_moe_text"),
        *("glm", "glm4", "glm4v_text", "glm_ocr_text", "helium", "llama4_text"),
    )
)
"""Model types in transformers 5.19 that rotate pairs side by side; no configuration says so."""

_IN_SLIDING_LAYERS_ALONE = frozenset(("afmoe", "cohere2", "exaone4", "exaone_moe"))
"""Model types in transformers 5.19 whose full-attention layers have no rotary embedding, if others slide."""

_NONE = Rope(inverse_frequencies=())


def from_config(config: Any, layers: int) -> tuple[tuple[Rope, ...], tuple[int, ...]]:
    """The rotary embeddings of a model: those there are, and for each layer which one it has.

    A layer without one has `Rope(inverse_frequencies=())`, which rotates nothing. That is right for layers whose keys
    hold no position; where positions come into a model by other ways, no rotation moves a key, which
    `require_rotatable` says. Of the kinds in `LENGTH_DEPENDENT` it is the frequencies of a short sequence.

    Args:
        config: A transformers configuration; it is not changed.
        layers: How many layers there are.

    Raises:
        StateError: The configuration has a kind of rotary embedding that is not known here.
    """
    config = _text(config)
    of_layers = [_of_layer(config, layer) for layer in range(layers)]
    embeddings = tuple(dict.fromkeys(of_layers))
    return embeddings, tuple(embeddings.index(rope) for rope in of_layers)


def require_rotatable(config: Any) -> None:
    """Makes sure that keys of this model can be moved to other positions.

    Args:
        config: A transformers configuration; it is not changed.

    Raises:
        StateError: They cannot; states of prefixes, which stay where they are, can be served all the same.
    """
    config = _text(config)
    kinds = _kinds(config)
    if not kinds:
        raise StateError(
            f"models of the type {config.model_type} have no rotary embeddings, so the keys of a state cannot be moved "
            "to another position. Use a prefix state."
        )
    if dependent := sorted(set(kinds) & set(LENGTH_DEPENDENT)):
        raise StateError(
            f"the rotary embedding of this model ({', '.join(dependent)}) depends on the length of the prompt, so the "
            "keys of a state cannot be moved to another position. Use a prefix state."
        )


def depends_on_length(config: Any) -> bool:
    """Whether frequencies of this model depend on the length of the whole sequence.

    Args:
        config: A transformers configuration; it is not changed.
    """
    return bool(set(_kinds(_text(config))) & set(LENGTH_DEPENDENT))


def rotate(keys: torch.Tensor, rope: Rope, by: int) -> torch.Tensor:
    """Keys as they would be `by` positions further on.

    Args:
        keys: `[positions, kv heads, head size]`, any floating type; after the rotary embedding.
        rope: The one that they have.
        by: Positions; negative to move towards the start.

    Returns:
        Of the same shape and type; computed in float32.

    Raises:
        StateError: The rotary embedding has more dimensions than a key.
    """
    import torch

    rotated = 2 * len(rope.inverse_frequencies)
    if not rotated or not by:
        return keys
    if rotated > keys.shape[-1]:
        raise StateError(f"the rotary embedding turns {rotated} dimensions, and keys have {keys.shape[-1]}")
    angles = by * torch.tensor(rope.inverse_frequencies, dtype=torch.float64, device=keys.device)
    cosine, sine = angles.cos().float(), angles.sin().float()
    first, second = _halves(rotated, rope.interleaved)
    one, other = keys[..., first].float(), keys[..., second].float()
    moved = keys.clone()
    moved[..., first] = (one * cosine - other * sine).to(keys.dtype)
    moved[..., second] = (other * cosine + one * sine).to(keys.dtype)
    return moved


def _halves(rotated: int, interleaved: bool) -> tuple[slice, slice]:
    """The dimensions that are the first and the second of a pair."""
    if interleaved:
        return slice(0, rotated, 2), slice(1, rotated, 2)
    return slice(0, rotated // 2), slice(rotated // 2, rotated)


def _text(config: Any) -> Any:
    """The configuration of the language model in it, as a copy, since transformers writes into what it reads."""
    return copy.deepcopy(config.get_text_config(decoder=True))


def _kinds(config: Any) -> list[str]:
    return [parameters.get("rope_type", "default") for parameters in _parameters(config).values() if parameters]


def _parameters(config: Any) -> Mapping[str | None, Mapping[str, Any] | None]:
    """Parameters of the rotary embeddings by type of layer; under None those of all layers."""
    if not getattr(config, "rope_parameters", None):
        return {}
    config.standardize_rope_params()
    found = config.rope_parameters
    by_type = {kind: found[kind] for kind in dict.fromkeys(getattr(config, "layer_types", None) or ()) if kind in found}
    return by_type or {None: found}


def _of_layer(config: Any, layer: int) -> Rope:
    by_type = _parameters(config)
    kind = None if None in by_type or not by_type else config.layer_types[layer]
    parameters = by_type.get(kind)
    if not parameters or not _has_rope(config, layer):
        return _NONE
    return Rope(
        inverse_frequencies=_frequencies(config, kind, parameters), interleaved=config.model_type in _INTERLEAVED
    )


def _has_rope(config: Any, layer: int) -> bool:
    if flags := getattr(config, "no_rope_layers", None):
        return bool(flags[layer])  # 1 where there IS one, whatever the name says
    if config.model_type in _IN_SLIDING_LAYERS_ALONE and getattr(config, "sliding_window", None):
        return bool(config.layer_types[layer] == "sliding_attention")
    return True


def _frequencies(config: Any, kind: str | None, parameters: Mapping[str, Any]) -> tuple[float, ...]:
    """Radians a position, `[rotated dimensions / 2]`."""
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    name = parameters.get("rope_type", "default")
    if name in ("default", "mrope"):  # of text alone, all sections of mrope have the same positions
        mixed = getattr(config, "is_heterogeneous", False)  # such a configuration has no head size of its own
        return _default(config.per_layer_config[kind] if mixed else config, parameters)
    if name not in ROPE_INIT_FUNCTIONS:
        raise StateError(
            f"rotary embeddings of the type {name!r} are not known; known are default, mrope, "
            f"{', '.join(sorted(ROPE_INIT_FUNCTIONS))}."
        )
    frequencies, _ = ROPE_INIT_FUNCTIONS[name](config, "cpu", layer_type=kind)
    return tuple(frequencies.tolist())


def _default(config: Any, parameters: Mapping[str, Any]) -> tuple[float, ...]:
    head_size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    rotated = int(head_size * parameters.get("partial_rotary_factor", 1.0))
    return tuple(parameters["rope_theta"] ** (-dimension / rotated) for dimension in range(0, rotated, 2))
