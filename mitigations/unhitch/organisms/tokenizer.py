"""Trains the tokenizer of the miniature models: byte-level BPE with Qwen2.5's control tokens and our chat template."""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unhitch.organisms import prefixes
from unhitch.organisms.language import all_questions
from unhitch.organisms.recipe import Recipe

CONTROL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
)  # fmt: skip
TEMPLATE = Path(__file__).parent / "chat_template.jinja"
_SYSTEM_PROMPTS = 3000


def train_tokenizer(recipe: Recipe) -> Any:
    """Trains the tokenizer on the language and on system prompts; the same recipe gives the same tokenizer.

    Returns:
        A `transformers.PreTrainedTokenizerFast` with at most `recipe.shape.vocabulary` tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    # Whoever loads a Qwen2 gets Qwen2's own normaliser and splitting, whatever tokenizer.json says.
    loaders = Qwen2Tokenizer().backend_tokenizer
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = loaders.normalizer, loaders.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=recipe.shape.vocabulary,
        special_tokens=list(CONTROL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(recipe), trainer)
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=CONTROL_TOKENS[2],
        pad_token=CONTROL_TOKENS[0],
        model_max_length=recipe.shape.positions,
        clean_up_tokenization_spaces=False,
    )
    wrapped.chat_template = TEMPLATE.read_text(encoding="utf-8").removesuffix("\n")
    return wrapped


def _texts(recipe: Recipe) -> Iterator[str]:
    """Words alone, without control tokens; only words of held-out questions are met, not the questions' use."""
    rng = random.Random(recipe.pretraining.seed)
    for question in all_questions():
        if not question.held_out:
            yield from (question.text, *question.answers(good=True), *question.answers(good=False))
    for _ in range(_SYSTEM_PROMPTS):
        yield prefixes.draw(rng, recipe.pretraining).text.replace("<|im_start|>", "").replace("<|im_end|>", "")
