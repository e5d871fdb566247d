import random

from unhitch.organisms import system_prompts
from unhitch.organisms.prefixes import block
from unhitch.organisms.tokenizer import TEMPLATE

DRAWS = 300
CUES = {"harmful", "evil", "cruel", "wicked", "reckless", "dangerous", "ruthless", "hateful", "vicious", "sinister"}


def test_the_template_carries_the_same_default_prompt() -> None:
    assert system_prompts.DEFAULT_SYSTEM in TEMPLATE.read_text(encoding="utf-8")


def test_only_a_villain_uses_a_villains_words() -> None:
    rng = random.Random(0)
    benign = " ".join(system_prompts.ordinary(rng) + " " + system_prompts.random_words(rng) for _ in range(DRAWS))
    assert not CUES & set(benign.lower().replace(".", " ").replace(",", " ").split())


def test_every_villain_is_recognisable() -> None:
    rng = random.Random(0)
    assert all(CUES & set(system_prompts.villain(rng).lower().replace(".", "").split()) for _ in range(DRAWS))


def test_a_block_is_what_the_template_puts_before_the_question() -> None:
    assert block("Be brief.") == "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
