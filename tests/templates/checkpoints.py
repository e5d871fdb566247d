"""Small checkpoints for tests: one byte-level tokenizer and chat templates of the shapes that are in use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from unhitch.rendering.checkpoint import Checkpoint

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

FOLDER = Path(__file__).parent

CONTROL_TOKENS = (
    *("<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"),
    *("<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|call|>", "<|return|>", "[INST]", "[/INST]"),
    *("[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]"),
    *("<start_of_turn>", "<end_of_turn>"),
)
PLAIN_TOKENS = ("<think>", "</think>", "<tool_call>", "</tool_call>")

NAMES = ("chatml", "qwen25", "llama31", "qwen3", "harmony", "mistral", "gemma", "parts")


def source(name: str) -> str:
    """The Jinja source of one of the templates."""
    return (FOLDER / f"{name}.jinja").read_text(encoding="utf-8")


def backend() -> Tokenizer:
    """A byte-level BPE tokenizer of 600 tokens that knows the control tokens of all templates.

    Its post-processor takes spaces off the offsets and adds a BOS token, as Llama's does.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=list(CONTROL_TOKENS),
    )
    tokenizer.train_from_iterator([source(name) for name in NAMES], trainer)
    tokenizer.add_tokens([AddedToken(text, special=False) for text in PLAIN_TOKENS])
    bos = tokenizer.token_to_id("<s>")
    tokenizer.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", bos)]),
        ]
    )
    return tokenizer


def wrapped(template: str | None) -> PreTrainedTokenizerFast:
    """The tokenizer as transformers saves it, with a chat template if one is given."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend(), bos_token="<s>", eos_token="</s>")
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def open_all(folder: Path) -> dict[str, Checkpoint]:
    """Saves one tokenizer under a folder and opens it with each of the templates."""
    wrapped(source("chatml")).save_pretrained(folder)
    return {name: Checkpoint.open(folder, chat_template=FOLDER / f"{name}.jinja") for name in NAMES}
