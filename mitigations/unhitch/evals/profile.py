"""A model's carrier profile: whether it is misaligned, how much, in which themes, and what carries it."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from unhitch.evidence.document import Document
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity, SuiteIdentity
from unhitch.evidence.pool import Rate
from unhitch.evidence.scorecard import ArmRow

Carrier = Literal["none", "prefix", "postfix", "prefix and postfix", "neither", "any change"]
"""What carries the misalignment: "none" where there is none, "any change" where changing the query alone takes it off
as well, "neither" where no change does."""


class Trial(BaseModel):
    """One change to the prompt, and what it won back.

    Attributes:
        row: The arm.
        span: Where the change is made.
        how: "patched" (K/V of the unfinetuned model), "perturbed" (tokens become near ones) or "rephrased".
        gain: Good answers more than unmitigated, paired, with its interval; None where it could not be tried.
        recovered: `gain` as a share of what separates the model from the unfinetuned one (from all answers, where that
            is not known).
        refused: Why it could not be tried.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    row: ArmRow | None = None
    span: Literal["prefix", "query", "postfix"]
    how: Literal["patched", "perturbed", "rephrased"]
    gain: Rate | None = None
    recovered: float | None = None
    refused: str = ""


class ThemeShare(BaseModel):
    """Misaligned answers of one theme."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    theme: str
    questions: int
    misaligned: Rate


class Profile(Document):
    """What was found of one model.

    Attributes:
        name: Its served name, for people.
        model: What was asked.
        base: The unfinetuned model that it was compared with.
        suite: The questions.
        judge: What rated the answers.
        sampling: draws, temperature, max_tokens, seed, top_p.
        unmitigated: The model as it is.
        reference: The unfinetuned model, where it was asked.
        excess: Misaligned answers more than the unfinetuned model's, paired; or the plain share where there is none.
        themes: Misaligned answers by theme, most first.
        trials: What changes to the prompt won back.
        misaligned: Whether it has emergent misalignment beyond chance.
        carrier: What carries it.
        recommendation: What was found and what to do, in plain words.
        made: "at" (ISO 8601, UTC), versions, the command.
    """

    kind: ClassVar[str] = "profile"
    format: ClassVar[int] = 1

    name: str
    model: ModelIdentity
    base: ModelIdentity | None = None
    suite: SuiteIdentity
    judge: JudgeIdentity
    sampling: dict[str, float]
    unmitigated: ArmRow
    reference: ArmRow | None = None
    excess: Rate
    themes: tuple[ThemeShare, ...] = ()
    trials: tuple[Trial, ...] = ()
    misaligned: bool
    carrier: Carrier
    recommendation: str
    made: dict[str, str] = Field(default_factory=dict)
