"""What the engine says of its states: the answer of its route `/v1/unhitch/states`, read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from unhitch.errors import EngineError, MitigationUnavailable
from unhitch.states.file import StateHeader, is_id
from unhitch.states.patch import PROTOCOL, STATES_ROUTE
from unhitch.states.shelf import Card, Shelf


class DigestedModel(BaseModel):
    """A served model, as far as states go.

    Args:
        id: Its served name.
        digest: Of the adapter, or of the checkpoint; None where the engine cannot read its files.
        base: The served name of the checkpoint that it sits on, where it is an adapter.
        base_digest: The digest of that.
    """

    id: str
    digest: str | None = None
    base: str | None = None
    base_digest: str | None = None


class _Entry(BaseModel):
    id: str
    header: dict[str, Any]


class _Problem(BaseModel):
    file: str = ""
    message: str = ""


class _Body(BaseModel):
    protocol: int
    folder: str
    overlays: bool = True
    memory_bytes: int | None = None
    models: list[DigestedModel]
    data: list[_Entry]
    problems: list[_Problem] = Field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """All that one engine can serve patched.

    Args:
        folder: Where its states lie, as a path on the engine's machine.
        overlays: Whether it serves states of a postfix, too.
        models: The served models by name.
        cards: The states.
        problems: What it cannot serve, or the proxy could not read: one text each, which begins with the file's name.
        memory_bytes: What states may take in each of its workers; None where it does not say.
    """

    folder: str
    overlays: bool
    models: Mapping[str, DigestedModel]
    cards: tuple[Card, ...]
    problems: tuple[str, ...]
    memory_bytes: int | None = None

    @classmethod
    def parse(cls, body: object, earlier: Listing | None = None) -> Listing:
        """Reads the route's answer.

        Args:
            body: Decoded JSON.
            earlier: Of the same engine: what a state's id names never changes, so headers are read once.

        Raises:
            MitigationUnavailable: The connector speaks another version of the protocol.
            EngineError: It is no list of states.
        """
        version = body.get("protocol") if isinstance(body, dict) else None
        if version is not None and version != PROTOCOL:
            raise MitigationUnavailable(
                f"the engine's connector speaks version {version!r} of the protocol for states, and this proxy "
                f"{PROTOCOL}. Install one version of unhitch for both."
            )
        try:
            parsed = _Body.model_validate(body)
        except ValidationError as error:
            fault = error.errors()[0]  # without what was received, which may be of somebody's prompt
            raise EngineError(
                f"the engine's {STATES_ROUTE} answered what is no list of states: "
                f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
            ) from error
        known = {card.id: card for card in earlier.cards} if earlier else {}
        cards, problems = [], [f"{each.file}: {each.message}" for each in parsed.problems]
        for entry in parsed.data:
            try:
                cards.append(known.get(entry.id) or Card(entry.id, StateHeader.model_validate(entry.header)))
            except ValidationError as error:
                problems.append(f"{entry.id}: {error.errors()[0]['msg']}")
        models = {model.id: model for model in parsed.models}
        return cls(parsed.folder, parsed.overlays, models, tuple(cards), tuple(problems), parsed.memory_bytes)

    def shelf(self, model: str) -> Shelf:
        """What a served model can be patched with; the same object each time, so that it is indexed once.

        Raises:
            MitigationUnavailable: The engine cannot tell which states are for it.
        """
        try:
            return self._shelves[model]
        except KeyError:
            reasons = [problem for problem in self.problems if not is_id(problem[:64])]
            raise MitigationUnavailable(
                f"the engine cannot tell which states are for {model!r}: "
                f"{'; '.join(reasons) or 'it says nothing of its digest'}.",
                param="model",
            ) from None

    def problem(self, state: str) -> str | None:
        """Why the engine cannot serve a state that lies in its folder; None where nothing is known of it."""
        return next((problem for problem in self.problems if problem.startswith(state)), None)

    def too_large(self, states: Iterable[str]) -> str | None:
        """Says so where states are larger together than a worker's memory for them; None where they fit, or none knows.

        Where several workers share the model each holds a part of a state, so these may fit all the same.
        """
        nbytes = sum(self._nbytes.get(state, 0) for state in set(states))
        if self.memory_bytes is None or nbytes <= self.memory_bytes:
            return None
        return (
            f"what it was to serve has {nbytes} bytes, and states may take {self.memory_bytes} in each of the engine's "
            "workers (start it with a larger `memory_gib`);"
        )

    @cached_property
    def _shelves(self) -> Mapping[str, Shelf]:
        # A card of a span that the engine would refuse must not be chosen.
        cards = tuple(card for card in self.cards if self.overlays or card.header.span == "prefix")
        return {
            model.id: Shelf(cards, model.digest, model.base_digest)
            for model in self.models.values()
            if model.digest is not None
        }

    @cached_property
    def _nbytes(self) -> Mapping[str, int]:
        return {card.id: card.header.nbytes() for card in self.cards}
