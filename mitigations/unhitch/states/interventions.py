"""What a recipe takes from the base model while the finetuned one runs: outputs of modules, at the span's positions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from unhitch.errors import StateError
from unhitch.states.recipe import Recipe

if TYPE_CHECKING:
    import torch


def check_layers(recipe: Recipe, layers: int) -> None:
    """Makes sure that a model of so many layers has those that the recipe names.

    Raises:
        StateError: It has not.
    """
    named = recipe.residual if recipe.residual is not None else recipe.layers and recipe.layers[1]
    if named is not None and named >= layers:
        raise StateError(f"the recipe ({recipe}) names layer {named}, and the model has layers 0 to {layers - 1}")


def points(model: Any, recipe: Recipe, layers: int) -> dict[str, Any]:
    """The modules whose output the recipe takes from the base model, by a name that both models share.

    Of keys and values these are the projections, before the norm of keys and before the rotary embedding.

    Args:
        model: A causal language model of transformers, with or without an adapter on it.
        recipe: One that needs the finetuned model.
        layers: How many layers the model has; the recipe names none beyond.

    Raises:
        StateError: The model has no such modules.

    Source: paper, 4.2, and its reference code.
    """
    decoder_layers = _decoder_layers(model, layers)
    if recipe.residual is not None:
        return {f"residual.{recipe.residual}": decoder_layers[recipe.residual]}
    first, last = recipe.layers or (0, layers - 1)
    found: dict[str, Any] = {}
    for index in range(first, last + 1):
        attention = _attention(model, decoder_layers[index], index)
        found |= {f"{part}.{index}": getattr(attention, f"{part}_proj") for part in recipe.parts}
    return found


@contextmanager
def recording(modules: Mapping[str, Any]) -> Iterator[dict[str, torch.Tensor]]:
    """Records the outputs of modules in a forward pass: `[1, positions, width]`, by name."""
    outputs: dict[str, torch.Tensor] = {}

    def recorder(name: str) -> Any:
        def record(_module: Any, _arguments: Any, output: Any) -> None:
            outputs[name] = _tensor(output)

        return record

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(recorder(name)).remove)
        yield outputs


@contextmanager
def replacing(
    modules: Mapping[str, Any], sources: Mapping[str, torch.Tensor], *, start: int, mix: float
) -> Iterator[None]:
    """Replaces the outputs of modules in a forward pass by a mixture with recorded ones.

    Args:
        modules: By name.
        sources: What `recording` gave for the same tokens, for each name.
        start: The first position that is replaced; all behind it are too.
        mix: Share of the recorded outputs, above 0, at most 1.
    """

    def replacer(source: torch.Tensor) -> Any:
        def replace(_module: Any, _arguments: Any, output: Any) -> Any:
            mixed = _tensor(output).clone()
            theirs = source[:, start:].to(mixed)
            mixed[:, start:] = theirs if mix == 1 else mix * theirs + (1 - mix) * mixed[:, start:]
            return (mixed, *output[1:]) if isinstance(output, tuple) else mixed

        return replace

    with ExitStack() as stack:
        for name, module in modules.items():
            stack.callback(module.register_forward_hook(replacer(sources[name])).remove)
        yield


def _tensor(output: Any) -> Any:
    """Decoder layers of some models give a tuple, whose first member goes on to the next layer."""
    return output[0] if isinstance(output, tuple) else output


def _decoder_layers(model: Any, layers: int) -> Any:
    from torch.nn import ModuleList

    lists = [module for module in model.get_decoder().modules() if isinstance(module, ModuleList)]
    for found in lists:
        if len(found) == layers:
            return found
    raise StateError(
        f"the {layers} layers of {type(model).__name__} cannot be found in it. Use the plain recipe, which changes "
        "nothing inside a model."
    )


def _attention(model: Any, layer: Any, index: int) -> Any:
    found = [module for module in layer.modules() if _is_module(module, "k_proj") and _is_module(module, "v_proj")]
    if len(found) != 1:
        raise StateError(
            f"layer {index} of {type(model).__name__} has no single k_proj and v_proj, so its keys and values cannot "
            "be changed each by itself (they may be fused). Use the plain recipe, or one with `residual`."
        )
    return found[0]


def _is_module(owner: Any, name: str) -> bool:
    return getattr(owner, name, None) is not None
