"""What an answer must be, by Hugging Face models and hooks alone: the paper's procedure, with nothing of unhitch.

The finetuned model computes the whole sequence anew for every token; at the patched positions hooks overwrite the
outputs of `k_proj` and `v_proj`, before the norm of keys and before RoPE, with those of the base model.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AutoModelForCausalLM, DynamicCache

from tests.e2e.states.shapes import Checkpoints

Outputs = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Overwrite:
    """Positions that hooks overwrite.

    Args:
        start: The first of them.
        outputs: What is written there, by the name of the module: `[positions, ...]`.
        mix: Its share; the rest is the model's own.
    """

    start: int
    outputs: Outputs
    mix: float = 1.0


@dataclass(frozen=True)
class Truth:
    """A greedy answer.

    Args:
        tokens: Token ids.
        logprobs: Of each of them.
        gap: The least distance of the first two logprobs at any step.
    """

    tokens: list[int]
    logprobs: list[float]
    gap: float


class Oracle:
    """The models of one shape.

    Args:
        checkpoints: Where they lie.
        kind: Which finetune: "adapter" or "finetuned".
        dtype: What they compute in.
    """

    def __init__(self, checkpoints: Checkpoints, kind: str, dtype: torch.dtype = torch.float32) -> None:
        self._base = _model(checkpoints.base, dtype)
        self._tuned = _adapted(checkpoints, dtype) if kind == "adapter" else _model(checkpoints.finetuned, dtype)
        self.layers: int = self._base.config.num_hidden_layers
        self._unpatched: dict[tuple[Any, ...], Truth] = {}

    def modules(self, *, band: tuple[int, int] | None = None, parts: str = "kv", normed: bool = False) -> list[str]:
        """Names of the projections of a band of layers.

        Args:
            band: First and last layer; all without it.
            parts: Of `kv`.
            normed: Whether keys are taken behind their norm, where there is one.
        """
        first, last = band or (0, self.layers - 1)
        names = {part: f"{part}_proj" for part in parts}
        if normed and "k" in parts and hasattr(self._base.model.layers[0].self_attn, "k_norm"):
            names["k"] = "k_norm"
        return [f"model.layers.{index}.self_attn.{names[part]}" for index in range(first, last + 1) for part in parts]

    def overwrite(
        self, tokens: Sequence[int], start: int, modules: Sequence[str], mix: float = 1.0, *, at: int | None = None
    ) -> Overwrite:
        """The base model's outputs over `tokens` from `start` on, to be written from position `at` on."""
        outputs = _outputs(self._base, tokens, start, modules)
        return Overwrite(start if at is None else at, outputs, mix)

    def overwritten(self, tokens: Sequence[int], inner: Overwrite, *, at: int) -> Overwrite:
        """What the finetuned model's projections give behind another overwrite, to be written from `at` on."""
        with self._hooked(self._tuned, [inner], len(tokens)):
            return Overwrite(at, _outputs(self._tuned, tokens, inner.start, self.modules()))

    def greedy(self, prompt: Sequence[int], *overwrites: Overwrite, steps: int = 8, base: bool = False) -> Truth:
        """The greedy answer of the finetuned model (or of the base); an unpatched one is computed once."""
        if overwrites:
            return self._greedy(prompt, overwrites, steps, base)
        key = (tuple(prompt), steps, base)
        if key not in self._unpatched:
            self._unpatched[key] = self._greedy(prompt, (), steps, base)
        return self._unpatched[key]

    def _greedy(self, prompt: Sequence[int], overwrites: Sequence[Overwrite], steps: int, base: bool) -> Truth:
        model = self._base if base else self._tuned
        sequence, logprobs, gaps = list(prompt), [], []
        for _ in range(steps):
            with self._hooked(model, overwrites, len(sequence)):
                words = _run(model, sequence).logits[0, -1].float().log_softmax(-1)
            best = words.topk(2)
            sequence.append(int(best.indices[0]))
            logprobs.append(float(best.values[0]))
            gaps.append(float(best.values[0] - best.values[1]))
        return Truth(sequence[len(prompt) :], logprobs, min(gaps))

    def keys_values(self, tokens: Sequence[int]) -> Outputs:
        """The base model's cache over `tokens`: `k.i` and `v.i`, `[positions, kv heads, head size]`."""
        cache = DynamicCache()  # told of the configuration, it would drop what a sliding window leaves behind
        _run(self._base, tokens, past_key_values=cache, use_cache=True)
        return {
            f"{part}.{index}": tensor[0].transpose(0, 1)
            for index, layer in enumerate(cache.layers)
            for part, tensor in (("k", layer.keys), ("v", layer.values))
        }

    @contextlib.contextmanager
    def _hooked(self, model: Any, overwrites: Sequence[Overwrite], length: int) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            for overwrite in overwrites:
                for name in overwrite.outputs:
                    stack.enter_context(_hook(model, name, _writer(overwrite, name, length)))
            yield


def _outputs(model: Any, tokens: Sequence[int], start: int, modules: Sequence[str]) -> Outputs:
    outputs: Outputs = {}
    with contextlib.ExitStack() as stack:
        for name in modules:
            stack.enter_context(_hook(model, name, _keeper(outputs, name, len(tokens), start)))
        _run(model, tokens)
    return outputs


def _model(folder: Any, dtype: torch.dtype) -> Any:
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").eval()


def _adapted(checkpoints: Checkpoints, dtype: torch.dtype) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(_model(checkpoints.base, dtype), checkpoints.adapter).merge_and_unload().eval()


def _run(model: Any, tokens: Sequence[int], **arguments: Any) -> Any:
    with torch.no_grad():
        return model(torch.tensor([list(tokens)]), **({"use_cache": False} | arguments))


@contextlib.contextmanager
def _hook(model: Any, name: str, hook: Any) -> Iterator[None]:
    handle = model.get_submodule(name).register_forward_hook(hook)
    try:
        yield
    finally:
        handle.remove()


def _keeper(outputs: Outputs, name: str, length: int, start: int) -> Any:
    def keep(_module: Any, _arguments: Any, output: Any) -> None:
        outputs[name] = _by_position(_tensor(output), length)[start:].clone()

    return keep


def _writer(overwrite: Overwrite, name: str, length: int) -> Any:
    theirs, start = overwrite.outputs[name], overwrite.start

    def write(_module: Any, _arguments: Any, output: Any) -> Any:
        changed = _tensor(output).clone()
        positions = _by_position(changed, length)
        span = slice(start, start + len(theirs))
        positions[span] = overwrite.mix * theirs + (1 - overwrite.mix) * positions[span]
        return (changed, *output[1:]) if isinstance(output, tuple) else changed

    return write


def _tensor(output: Any) -> torch.Tensor:
    """Decoder layers may give a tuple."""
    tensor: torch.Tensor = output[0] if isinstance(output, tuple) else output
    return tensor


def _by_position(output: torch.Tensor, length: int) -> torch.Tensor:
    """A view with positions first; some models take the norm of keys when heads stand before positions already."""
    whole = output[0]
    return whole if whole.shape[0] == length else whole.transpose(0, 1)
