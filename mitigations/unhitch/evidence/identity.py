"""What a piece of evidence is about: digests of model, template, strategy, suite and judge."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

Hex = str
"""A SHA-256 as 64 hexadecimal digits."""


class Identity(BaseModel):
    """Base of what is identified; equal content has an equal digest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def digest(self) -> Hex:
        """SHA-256 over the members as JSON with sorted keys."""
        return digest_of(self.model_dump(mode="json"))


class ModelIdentity(Identity):
    """A served model, whatever its name and wherever its files lie.

    Attributes:
        weights: `unhitch.states.fingerprint.model_digest` of its own files (an adapter's where it is one).
        base: The same of what it sits on, where it is an adapter.
        tokenizer: `unhitch.states.fingerprint.tokenizer_digest`.
        template: SHA-256 of the chat template's text, as in receipts.
    """

    weights: Hex
    base: Hex | None = None
    tokenizer: Hex
    template: Hex


class SuiteIdentity(Identity):
    """A suite of questions.

    Attributes:
        name: For people.
        content: `unhitch.evals.question.Suite.digest`.
        questions: How many.
    """

    name: str
    content: Hex
    questions: int


class JudgeIdentity(Identity):
    """A judge.

    Attributes:
        name: Its name.
        version: Its version.
        details: All else that its ratings hang on: the model that it asks, the digest of its prompts.
    """

    name: str
    version: int
    details: Mapping[str, str] = Field(default_factory=dict)

    def __hash__(self) -> int:  # the details, a mapping, have none
        return hash(self.digest)


class StrategyIdentity(Identity):
    """A strategy with its parameters.

    Attributes:
        mitigation: The canonical value of the Unhitch-Mitigation header, versions included
            (`unhitch.headers.format_applied` less what only a request decides: the seed where none was asked for).
        pool: Digest of the pool's variants, where it is one.
        scorer: What chooses the answer, where it is `best-of`; None where that was not recorded.
    """

    mitigation: str
    pool: Hex | None = None
    scorer: JudgeIdentity | None = None

    @model_serializer(mode="wrap")
    def _without_absent_scorer(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Keeps the digests of all that no scorer chooses, and of files written before scorers were recorded."""
        members: dict[str, Any] = serialize(self)
        return members if self.scorer is not None else {key: members[key] for key in members if key != "scorer"}


def digest_of(content: Any) -> Hex:
    """SHA-256 over JSON with sorted keys and without white space.

    Args:
        content: What JSON can hold.
    """
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
