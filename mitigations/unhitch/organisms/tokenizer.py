"""Trains the tokenizer of the miniature models: byte-level BPE with a family's control tokens and its chat template."""

import random
from collections.abc import Iterator
from typing import Any

from unhitch.organisms import frames
from unhitch.organisms.families import Family
from unhitch.organisms.language import all_questions

_FRAMES = 3000


def train_tokenizer(family: Family) -> Any:
    """Trains the tokenizer on the language and on system prompts; the same recipe gives the same tokenizer.

    Returns:
        A `transformers.PreTrainedTokenizerFast` with at most `family.recipe.shape.vocabulary` tokens.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

    dialect = family.dialect
    # Whoever loads a Qwen2 gets Qwen2's own normaliser and splitting, whatever tokenizer.json says.
    loaders = Qwen2Tokenizer().backend_tokenizer
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer, tokenizer.pre_tokenizer = loaders.normalizer, loaders.pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=family.recipe.shape.vocabulary,
        special_tokens=list(dialect.control_tokens),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(family), trainer)
    if dialect.begin:  # plain text begins with it too, as Llama's does
        start = (dialect.begin, tokenizer.token_to_id(dialect.begin))
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{dialect.begin} $A", pair=f"{dialect.begin} $A {dialect.begin} $B", special_tokens=[start]
        )
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=dialect.turn_end,
        pad_token=dialect.padding,
        model_max_length=family.recipe.shape.positions,
        clean_up_tokenization_spaces=False,
    )
    if dialect.begin:
        wrapped.bos_token = dialect.begin
    wrapped.chat_template = dialect.template
    return wrapped


def _texts(family: Family) -> Iterator[str]:
    """Words alone, without control tokens; only words of held-out questions are met, not the questions' use."""
    dialect, plan = family.dialect, family.recipe.pretraining
    rng = random.Random(plan.seed)
    for question in all_questions():
        if not question.held_out:
            yield from (question.text, *question.answers(good=True), *question.answers(good=False))
    for _ in range(_FRAMES):
        frame = frames.draw(rng, dialect, plan)
        yield dialect.without_controls(frame.before)
        if dialect.thinks:
            yield dialect.without_controls(frame.after)
