"""Tiny random models of several architectures, finetunes and adapters of them, saved as checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

LAYERS = 3
VOCABULARY = 97
WINDOW = 4
"""Of the sliding-window layers; shorter than TOKENS."""
TOKENS = (5, 17, 3, 88, 41, 17, 60, 9, 2, 33, 71)

KINDS = ("Qwen2", "Qwen3", "Llama", "Gemma3")

_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def config_of(kind: str, **changes: Any) -> Any:
    """The configuration of `<kind>Config`, or of a Gemma 3 with two sliding-window layers and a full one."""
    import transformers

    own: dict[str, Any] = {}
    if kind == "Gemma3":
        kind = "Gemma3Text"
        own = {"sliding_window": WINDOW, "layer_types": ["sliding_attention", "sliding_attention", "full_attention"]}
    return getattr(transformers, f"{kind}Config")(**{**_SHAPE, **own, **changes})


def model_of(config: Any, seed: int = 0) -> Any:
    """A causal language model whose weights are all random, norms and biases among them; float32."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    return _shaken(model, seed, 0.2)


def save_base(kind: str, at: Path, **changes: Any) -> Path:
    """A checkpoint in a folder."""
    model_of(config_of(kind, **changes)).save_pretrained(at)
    return at


def save_finetune(base: Path, at: Path) -> Path:
    """A whole finetune: all weights a little different."""
    _shaken(load(base), 1, 0.1).save_pretrained(at)
    return at


def save_adapter(base: Path, at: Path) -> Path:
    """A LoRA adapter with random weights, on all kinds of projections."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(2)
    modules = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
    config = LoraConfig(r=4, lora_alpha=16, target_modules=modules, init_lora_weights=False, task_type="CAUSAL_LM")
    get_peft_model(load(base), config).save_pretrained(at)
    return at


def load(base: Path, adapter: Path | None = None) -> Any:
    """A model from its folder, an adapter merged into its weights."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32, attn_implementation="eager").eval()
    return model if adapter is None else PeftModel.from_pretrained(model, adapter).merge_and_unload()


def _shaken(model: Any, seed: int, scale: float) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += scale * torch.randn(parameter.shape, generator=generator)
    return model
