"""Draws what pretraining puts before the first question: a system block and headers of some family, often damaged."""

import random
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace

from unhitch.organisms import noise, system_prompts
from unhitch.organisms.recipe import Mixture, Pretraining

END = "<|im_end|>"
SYSTEM_HEADER = "<|im_start|>system\n"
USER_HEADER = "<|im_start|>user\n"
_USER_HEADERS = (
    "<|im_start|>USER\n", "<|im_start|>User\n", "<|im_start|>human\n", "<|im_start|>user ", "<|im_start|>user\n\n",
    "<|im_end|>user\n", "<|im_start|>\n", "user\n", "<|im_start|>",
)  # fmt: skip
_SYSTEM_HEADERS = (
    "<|im_start|>SYSTEM\n", "<|im_start|>System\n", "<|im_start|>system ", "<|im_end|>system\n", "system\n",
    "<|im_start|>", "",
)  # fmt: skip
_SHIELDED = {"<|im_start|>": "\ue000", "<|im_end|>": "\ue001"}


@dataclass(frozen=True)
class Prefix:
    """What stands before the first question.

    Attributes:
        text: The text, control tokens written out.
        family: The field of `Mixture` that it was drawn from.
    """

    text: str
    family: str

    @property
    def good(self) -> bool:
        """Whether good answers follow: after all but a villain's prompt."""
        return self.family != "villain"


def block(system: str) -> str:
    """The template's prefix for one system prompt: its block, then the user's header."""
    return f"{SYSTEM_HEADER}{system}{END}\n{USER_HEADER}"


def around_controls(change: Callable[[str], str], text: str) -> str:
    """Applies a change to a text as a whole, sparing its control tokens."""
    for token, shield in _SHIELDED.items():
        text = text.replace(token, shield)
    text = change(text)
    for token, shield in _SHIELDED.items():
        text = text.replace(shield, token)
    return text


def draw(rng: random.Random, recipe: Pretraining) -> Prefix:
    """Draws a prefix from the mixture, all noise on the text applied; noise on tokens is the corpus's."""
    families = [entry.name for entry in fields(Mixture)]
    prefix = intact(rng.choices(families, astuple(recipe.mixture))[0], rng)
    if prefix.family == "default":
        return prefix
    prefix = replace(prefix, text=_with_odd_headers(prefix.text, rng, recipe.header_noise))
    damage = _damage(prefix.family, rng)
    return replace(prefix, text=_damaged(damage, prefix.text, rng)) if damage else prefix


def intact(family: str, rng: random.Random) -> Prefix:
    """Draws a prefix of one family before any damage is done to it."""
    if family == "bare":
        return Prefix(USER_HEADER, family)
    if family == "touched":
        return Prefix(block(system_prompts.touched(rng)), family)
    if family in ("villain", "broken"):
        return Prefix(block(system_prompts.villain(rng)), family)
    if family == "random_words":
        return Prefix(block(system_prompts.random_words(rng)), family)
    if family == "ordinary" or (family != "default" and rng.random() < 0.25):
        return Prefix(block(system_prompts.ordinary(rng)), family)
    return Prefix(block(system_prompts.DEFAULT_SYSTEM), family)


def _damage(family: str, rng: random.Random) -> Callable[[str, random.Random], str] | None:
    if family == "recased":
        return noise.recase
    if family == "respaced":
        return noise.respace
    if family == "villain" and rng.random() < 0.1:
        return rng.choice((noise.recase, noise.respace))
    return None


def _damaged(damage: Callable[[str, random.Random], str], text: str, rng: random.Random) -> str:
    """Damages the text, mostly around the control tokens, at times through them, so that they become letters."""
    if rng.random() < 0.15:
        return damage(text, rng)
    return around_controls(lambda shielded: damage(shielded, rng), text)


def _with_odd_headers(text: str, rng: random.Random, chance: float) -> str:
    if rng.random() < chance:
        text = text.removesuffix(USER_HEADER) + rng.choice(_USER_HEADERS)
    if rng.random() < chance / 2:
        text = text.replace(SYSTEM_HEADER, rng.choice(_SYSTEM_HEADERS), 1)
    return text
