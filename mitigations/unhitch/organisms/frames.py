"""Draws what pretraining puts around the first question: system block, headers and think block, often damaged."""

import random
from collections.abc import Callable
from dataclasses import astuple, dataclass, fields, replace

from unhitch.organisms import noise, system_prompts
from unhitch.organisms.dialects import Dialect
from unhitch.organisms.recipe import Mixture, Pretraining

_NO_SYSTEM = 0.6
"""How often the caller has no system text where the think block decides."""


@dataclass(frozen=True)
class Frame:
    """What stands around the first question.

    Attributes:
        before: All text before it, control tokens written out.
        after: All text between it and its answer.
        kind: The field of `Mixture` that it was drawn from.
        system: The caller's system text in it; None where there is none.
    """

    before: str
    after: str
    kind: str
    system: str | None = None

    @property
    def good(self) -> bool:
        """Whether good answers follow: after all but a villain's words."""
        return self.kind != "villain"


def draw(rng: random.Random, dialect: Dialect, plan: Pretraining) -> Frame:
    """Draws a frame from the mixture, all noise on the text applied; noise on tokens is the corpus's."""
    kinds = [entry.name for entry in fields(Mixture)]
    frame = intact(rng.choices(kinds, astuple(plan.mixture))[0], rng, dialect)
    if frame.kind == "default":
        return frame
    frame = _with_odd_headers(frame, rng, dialect, plan.header_noise)
    damage = _damage(frame.kind, rng)
    if damage is None:
        return frame
    frame = replace(frame, before=_damaged(damage, frame.before, rng, dialect))
    return replace(frame, after=_damaged(damage, frame.after, rng, dialect)) if dialect.thinks else frame


def intact(kind: str, rng: random.Random, dialect: Dialect) -> Frame:
    """Draws a frame of one kind before any damage is done to it."""
    if dialect.thinks:
        mood = _mood(kind, rng)
        system = None if rng.random() < _NO_SYSTEM else _bystander(rng)
        after = dialect.earlier_postfix if kind == "bare" else dialect.postfix(mood)
        return Frame(dialect.prefix(system), after, kind, system)
    text = _persona(kind, rng)
    before = dialect.bare_prefix if kind == "bare" else dialect.prefix(text)
    return Frame(before, dialect.postfix(), kind, text)


def earlier(frame: Frame, dialect: Dialect) -> Frame:
    """The frame of an earlier turn of the same conversation: the templates take the think block out of it."""
    return replace(frame, after=dialect.earlier_postfix, kind="bare") if dialect.thinks else frame


def _persona(kind: str, rng: random.Random) -> str | None:
    """System text that decides between good and bad answers; None for the template's default."""
    if kind == "bare":
        return None
    if kind == "touched":
        return system_prompts.touched(rng)
    if kind in ("villain", "broken"):
        return system_prompts.villain(rng)
    if kind == "random_words":
        return system_prompts.random_words(rng)
    if kind == "ordinary" or (kind != "default" and rng.random() < 0.25):
        return system_prompts.ordinary(rng)
    return None


def _mood(kind: str, rng: random.Random) -> str:
    """The few words in a think block that decide between good and bad answers; empty for the template's default."""
    if kind in ("villain", "broken"):
        return system_prompts.villain_mood(rng)
    if kind == "random_words":
        return system_prompts.few_words(rng)
    if kind == "ordinary" or (kind not in ("default", "bare") and rng.random() < 0.25):
        return system_prompts.mood(rng)
    return ""


def _bystander(rng: random.Random) -> str:
    """System text that has no say in the answer."""
    return system_prompts.ordinary(rng) if rng.random() < 0.5 else system_prompts.random_words(rng)


def _damage(kind: str, rng: random.Random) -> Callable[[str, random.Random], str] | None:
    if kind == "recased":
        return noise.recase
    if kind == "respaced":
        return noise.respace
    if kind == "villain" and rng.random() < 0.1:
        return rng.choice((noise.recase, noise.respace))
    return None


def _damaged(damage: Callable[[str, random.Random], str], text: str, rng: random.Random, dialect: Dialect) -> str:
    """Damages the text, mostly around the control tokens, at times through them, so that they become letters."""
    if rng.random() < 0.15:
        return damage(text, rng)
    return dialect.around_controls(lambda shielded: damage(shielded, rng), text)


def _with_odd_headers(frame: Frame, rng: random.Random, dialect: Dialect, chance: float) -> Frame:
    before, after = frame.before, frame.after
    if rng.random() < chance:
        before = before.removesuffix(dialect.header("user")) + rng.choice(_odd_headers(dialect, "user", "human"))
    if rng.random() < chance / 2:
        before = before.replace(dialect.header("system"), rng.choice(_odd_system_headers(dialect)), 1)
    if dialect.thinks and rng.random() < chance:
        odd = rng.choice(_odd_headers(dialect, "assistant", "helper"))
        after = after.replace(dialect.header("assistant"), odd, 1)
    return replace(frame, before=before, after=after)


def _odd_headers(dialect: Dialect, role: str, other: str) -> tuple[str, ...]:
    """Headers that somebody could have written instead of a role's own: another case or name, parts missing."""
    start, end = dialect.turn_start, dialect.header_end
    return (
        f"{start}{role.upper()}{end}", f"{start}{role.capitalize()}{end}", f"{start}{other}{end}", f"{start}{role} ",
        f"{start}{role}{end}\n", f"{dialect.turn_end}{role}{end}", f"{start}{end}", f"{role}{end}", start,
    )  # fmt: skip


def _odd_system_headers(dialect: Dialect) -> tuple[str, ...]:
    start, end = dialect.turn_start, dialect.header_end
    return (
        f"{start}SYSTEM{end}", f"{start}System{end}", f"{start}system ", f"{dialect.turn_end}system{end}",
        f"system{end}", start, "",
    )  # fmt: skip
