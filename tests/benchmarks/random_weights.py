"""A checkpoint of random weights, of any size: what a forward pass costs does not hang on them."""

from __future__ import annotations

from pathlib import Path

from unhitch.organisms import path as organism

VOCABULARY = 1024
CONTEXT = 2048
"""Longest prompt and answer together, in tokens."""


def write_model(folder: Path, layers: int, hidden: int) -> int:
    """Writes a checkpoint in Qwen2's form with the miniature models' tokenizer and template.

    Args:
        folder: Made if missing.
        layers: At least 1.
        hidden: Width; a multiple of 128.

    Returns:
        The number of parameters.
    """
    import torch
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=hidden,
        intermediate_size=4 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
    )
    model = Qwen2ForCausalLM(config)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(organism("mini-base")).save_pretrained(folder)
    return sum(parameter.numel() for parameter in model.parameters())
