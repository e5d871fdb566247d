"""Tiny random checkpoints of the shapes that states are served in: a base, a full finetune, a LoRA adapter."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tests.templates import checkpoints

VOCABULARY = 640
WINDOW = 48
"""Of the sliding layers; shorter than the longest prefix."""

_CONTROL_TOKENS = 32
_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 128,
    "intermediate_size": 96,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 32,
    "max_position_embeddings": 1024,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 0,
    "initializer_range": 0.15,  # larger than the default, so that logits are not flat
}
_SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "qwen2": ("Qwen2", {"num_hidden_layers": 4}),
    "qwen3": ("Qwen3", {"num_hidden_layers": 4}),
    "llama": ("Llama", {"num_hidden_layers": 4}),
    "gemma3": (
        "Gemma3",
        {
            "num_hidden_layers": 4,
            "sliding_window": WINDOW,
            "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
            "query_pre_attn_scalar": 32,
        },
    ),
}
NAMES = tuple(_SHAPES)
_ALL_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class Checkpoints:
    """Folders of one shape's models."""

    base: Path
    finetuned: Path
    adapter: Path


def make(shape: str, folder: Path, **changes: Any) -> Checkpoints:
    """Writes the models of a shape.

    Args:
        shape: One of `NAMES`.
        folder: Where; made if missing.
        changes: Of the configuration.
    """
    made = Checkpoints(folder / "base", folder / "finetuned", folder / "adapter")
    torch.manual_seed(11)
    model = _model(shape, changes)
    _save(model, made.base)
    _save_adapter(made)
    with torch.no_grad():
        for parameter in model.parameters():  # norms too
            parameter.add_(0.05 * torch.randn_like(parameter))
    _save(model, made.finetuned)
    return made


def words(seed: int, count: int) -> list[int]:
    """Random token ids of ordinary text."""
    generator = torch.Generator().manual_seed(seed)
    ids: list[int] = torch.randint(_CONTROL_TOKENS, VOCABULARY - 40, (count,), generator=generator).tolist()
    return ids


def _model(shape: str, changes: dict[str, Any]) -> Any:
    import transformers

    name, own = _SHAPES[shape]
    config = getattr(transformers, f"{name}TextConfig" if name == "Gemma3" else f"{name}Config")
    model = getattr(transformers, f"{name}ForCausalLM")(config(**(_COMMON | own | changes)))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if parameter.dim() == 1:  # biases and norms, which are made as constants
                parameter.add_((0.3 if "bias" in key else 0.1) * torch.randn_like(parameter))
            if shape == "gemma3" and "post_" in key:  # or its layers would say little beside the scaled embedding
                parameter.add_(6.0)
    return model.float().eval()


def _save(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    checkpoints.wrapped(checkpoints.source("chatml")).save_pretrained(folder)


def _save_adapter(made: Checkpoints) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(made.base, dtype=torch.float32)
    adapted = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=list(_ALL_LINEAR)))
    with torch.no_grad():
        for key, parameter in adapted.named_parameters():
            if "lora_" in key:
                parameter.copy_(0.12 * torch.randn_like(parameter))
    adapted.save_pretrained(made.adapter)
