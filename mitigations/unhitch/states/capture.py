"""Makes states offline: the K/V of a span, computed by transformers from the base model, or by a recipe from both."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import unhitch
from unhitch.errors import StateError
from unhitch.states import interventions, rope
from unhitch.states.file import DtypeName, Layer, SpanName, StateHeader
from unhitch.states.models import Models
from unhitch.states.recipe import Recipe

if TYPE_CHECKING:
    import torch

    KeysValues = list[tuple[torch.Tensor, torch.Tensor]]
    """For each layer keys after the rotary embedding, and values: `[positions, kv heads, head size]`."""

_ATTENTION = ("full_attention", "sliding_attention", "chunked_attention")
"""Types of layers that keep keys and values."""

_SHIFT = 64
"""How far keys are moved to see whether they can be, in positions."""

_TOLERANCE, _HALF_PRECISION_TOLERANCE = 1e-3, 0.1
"""Largest relative error of moved keys; by a wrong rotary embedding they are wrong by about their own size."""


def capture(
    base: str | Path,
    finetuned: str | Path | None,
    tokens: Sequence[int],
    *,
    span: SpanName,
    start: int,
    recipe: Recipe | None = None,
    dtype: DtypeName = "float32",
    template: str,
    tokenizer: str,
    device: str = "cpu",
) -> tuple[StateHeader, dict[str, torch.Tensor]]:
    """Makes one state; arguments and errors are those of `Reference` and its `capture`, which serves for several."""
    reference = Reference(base, finetuned, dtype=dtype, device=device)
    return reference.capture(tokens, span=span, start=start, recipe=recipe, template=template, tokenizer=tokenizer)


class Reference:
    """A base model and, for some recipes, what was finetuned from it; makes states. Models are loaded when needed.

    Args:
        base: Folder or local hub id of the unfinetuned model.
        finetuned: Folder or local hub id of a LoRA adapter on it, or of a whole finetuned model. States are for a whole
            one alone; with an adapter, those that need nothing but the base are for every adapter on it.
        dtype: What the models compute in, and what states are stored in.
        device: Of torch.

    Raises:
        CheckpointError: A model is missing, or torch is not installed.
        StateError: `dtype` is not known, `base` is an adapter, or `finetuned` is no finetune of `base`.
    """

    def __init__(
        self,
        base: str | Path,
        finetuned: str | Path | None = None,
        *,
        dtype: DtypeName = "float32",
        device: str = "cpu",
    ) -> None:
        if dtype not in get_args(DtypeName):
            raise StateError(f"states are stored in one of {', '.join(get_args(DtypeName))}, not in {dtype!r}")
        self._models = Models(base, finetuned, dtype, device)
        self._has_finetuned = finetuned is not None
        self._dtype: DtypeName = dtype
        self._device = device

    def capture(
        self,
        tokens: Sequence[int],
        *,
        span: SpanName,
        start: int,
        recipe: Recipe | None = None,
        template: str,
        tokenizer: str,
    ) -> tuple[StateHeader, dict[str, torch.Tensor]]:
        """Makes a state: header and tensors as `unhitch.states.file.write` takes them, on the CPU.

        Args:
            tokens: Token ids from position 0 to the end of the span.
            span: What the stored positions are to a prompt.
            start: The first stored position; 0 for a prefix.
            recipe: The intervention, at the stored positions; by default all K/V are the base's.
            template: Digest of the chat template.
            tokenizer: Digest of the tokenizer.

        Raises:
            CheckpointError: A model cannot be loaded.
            StateError: `start` or the tokens are out of range; the recipe needs a finetuned model and none was given,
                or layers or modules that the model does not have; the model's layers do not all keep keys and values of
                one size; or the span is not a prefix, and the model's keys cannot be moved to other positions.

        Source: paper, 4.2 and 4.3.
        """
        recipe = recipe or Recipe()
        self._check(tokens, span, start, recipe)
        layers = self._intervened(tokens, start, recipe) if recipe.needs_finetuned else self._plain(tokens)
        if span != "prefix":
            self._check_movable(tokens)
        header = self._header(layers, tokens, span, start, recipe, template, tokenizer)
        return header, _stored(layers, start, self._dtype)

    def _check(self, tokens: Sequence[int], span: SpanName, start: int, recipe: Recipe) -> None:
        """What can be seen before a model is loaded."""
        if span not in get_args(SpanName):
            raise StateError(f"a span is one of {', '.join(get_args(SpanName))}, not {span!r}")
        if not 0 <= start < len(tokens) or (span == "prefix" and start):
            raise StateError(f"a {span} of {len(tokens)} tokens cannot start at {start}; a prefix starts at 0")
        if recipe.needs_finetuned and not self._has_finetuned:
            raise StateError(f"the recipe ({recipe}) needs the finetuned model, and none is given")
        config = self._models.text_config
        interventions.check_layers(recipe, config.num_hidden_layers)
        if strange := set(getattr(config, "layer_types", None) or ()) - set(_ATTENTION):
            raise StateError(f"layers of the type {', '.join(sorted(strange))} keep no keys and values of positions")
        if not all(0 <= token < config.vocab_size for token in tokens):
            raise StateError(f"token ids of this model are 0 to {config.vocab_size - 1}, and others are given")
        if span != "prefix":
            rope.require_rotatable(self._models.config)

    def _plain(self, tokens: Sequence[int]) -> KeysValues:
        with self._models.base() as base:
            return self._run(base, tokens)

    def _intervened(self, tokens: Sequence[int], start: int, recipe: Recipe) -> KeysValues:
        count = self._models.text_config.num_hidden_layers
        finetuned = self._models.finetuned  # before the base, since putting an adapter on replaces the base's modules
        modules = interventions.points(finetuned, recipe, count)
        with self._models.base() as base, interventions.recording(interventions.points(base, recipe, count)) as sources:
            self._run(base, tokens)
        with interventions.replacing(modules, sources, start=start, mix=recipe.mix):
            return self._run(finetuned, tokens)

    def _run(self, model: Any, tokens: Sequence[int], *, first_position: int = 0) -> KeysValues:
        """K/V of all positions."""
        import torch
        from transformers import DynamicCache

        ids = torch.tensor([list(tokens)], device=self._device)
        positions = torch.arange(first_position, first_position + len(tokens), device=self._device)[None]
        cache = DynamicCache()  # told of the configuration, it would drop what a sliding window leaves behind
        try:
            with torch.no_grad():  # the decoder alone: nobody reads logits
                model.get_decoder()(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True)
        except Exception as error:  # models that transformers runs in another way fail in as many ways, or in memory
            raise StateError(f"{type(model).__name__} cannot be run over {len(tokens)} tokens: {error}") from error
        found = [(layer.keys, layer.values) for layer in cache.layers]
        _check_kept(found, len(tokens), self._models.text_config.num_hidden_layers)
        return [(keys[0].transpose(0, 1), values[0].transpose(0, 1)) for keys, values in found]

    def _check_movable(self, tokens: Sequence[int]) -> None:
        """Raises unless keys that are moved by rotation are those that the model computes there."""
        with self._models.base() as base:
            here, there = self._run(base, tokens), self._run(base, tokens, first_position=_SHIFT)
        tolerance = _TOLERANCE if self._dtype == "float32" else _HALF_PRECISION_TOLERANCE
        embeddings, of_layer = rope.from_config(self._models.config, len(here))
        for index, ((keys, _), (expected, _)) in enumerate(zip(here, there, strict=True)):
            error = (rope.rotate(keys, embeddings[of_layer[index]], _SHIFT) - expected).float().norm()
            if error > tolerance * expected.float().norm():
                raise StateError(
                    f"keys of layer {index} of {type(base).__name__} do not move by the rotary embedding that its "
                    "configuration says, so a state of them cannot be served at another position. Use a prefix state."
                )

    def _header(
        self,
        layers: KeysValues,
        tokens: Sequence[int],
        span: SpanName,
        start: int,
        recipe: Recipe,
        template: str,
        tokenizer: str,
    ) -> StateHeader:
        embeddings, of_layer = rope.from_config(self._models.config, len(layers))
        for_one = recipe.needs_finetuned or not self._models.finetuned_is_adapter
        return StateHeader(
            span=span,
            tokens=tuple(tokens),
            start=start,
            recipe=recipe,
            base=self._models.base_digest,
            finetuned=self._models.finetuned_digest if for_one else None,
            tokenizer=tokenizer,
            template=template,
            layers=tuple(
                Layer(kv_heads=keys.shape[1], head_size=keys.shape[2], rope=embedding)
                for (keys, _), embedding in zip(layers, of_layer, strict=True)
            ),
            rope=embeddings,
            dtype=self._dtype,
            made_with={"unhitch": unhitch.version()}
            | {name: metadata.version(name) for name in ("torch", "transformers")},
        )


def _stored(layers: KeysValues, start: int, dtype: DtypeName) -> dict[str, torch.Tensor]:
    import torch

    return {
        f"{part}.{index}": tensor[start:].to("cpu", getattr(torch, dtype)).contiguous()
        for index, pair in enumerate(layers)
        for part, tensor in zip("kv", pair, strict=True)
    }


def _check_kept(layers: Sequence[tuple[Any, Any]], positions: int, count: int) -> None:
    """Raises unless every layer keeps keys and values of its own, `[1, kv heads, positions, head size]`."""
    if len(layers) != count:
        raise StateError(
            f"{len(layers)} of the model's {count} layers keep keys and values of their own; states are of models "
            "where all do"
        )
    for index, (keys, values) in enumerate(layers):
        shapes = [tuple(getattr(tensor, "shape", ())) for tensor in (keys, values)]
        if shapes[0] != shapes[1] or len(shapes[0]) != 4 or shapes[0][2] != positions:
            raise StateError(
                f"layer {index} keeps keys {shapes[0]} and values {shapes[1]}; a state needs both of one size, for "
                f"each of {positions} positions"
            )
