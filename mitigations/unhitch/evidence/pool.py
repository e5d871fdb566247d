"""A pool: a frozen list of vetted variants for one model."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, ConfigDict, Field

from unhitch.evidence.document import Document
from unhitch.evidence.identity import Hex, JudgeIdentity, ModelIdentity, SuiteIdentity, digest_of

NAME = "[a-z0-9][a-z0-9-]{0,63}"
"""What a pool's name looks like."""


class Rate(BaseModel):
    """A share or mean with its 95% interval.

    Attributes:
        value: The share (0 to 1) or mean; None where there is nothing to take it of.
        low: Lower bound.
        high: Upper bound.
        count: How many answers it is taken over.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = Field(default=0, ge=0)


class Variant(BaseModel):
    """One variant.

    Attributes:
        mitigation: A value of the Unhitch-Mitigation header that always gives the same edit: versions and seeds are in
            it.
        good: Share of good answers on the held-out split.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mitigation: str
    good: Rate


class Pool(Document):
    """Vetted variants. One of them is drawn for a conversation, and stays.

    Attributes:
        name: What requests call it (`pool;name=...`): lower-case letters, digits and hyphens.
        model: The model that they were vetted on.
        suite: The questions; the variants were chosen on one part of them and measured on the other.
        judge: What rated the answers.
        variants: At least one.
        good: Share of good answers of the whole pool on the held-out split.
        unmitigated: The same without mitigation.
        controls: The same of what must not help as much, by name: as many tries without an edit, random tokens, words
            of no meaning.
        made: When, by what, and how: free text by name.
    """

    kind: ClassVar[str] = "pool"
    format: ClassVar[int] = 1

    name: str = Field(pattern=f"^{NAME}$")
    model: ModelIdentity
    suite: SuiteIdentity
    judge: JudgeIdentity
    variants: tuple[Variant, ...] = Field(min_length=1)
    good: Rate
    unmitigated: Rate
    controls: dict[str, Rate] = Field(default_factory=dict)
    made: dict[str, str] = Field(default_factory=dict)

    @property
    def content(self) -> Hex:
        """What identifies its variants, whatever was measured of them."""
        return digest_of([variant.mitigation for variant in self.variants])
