"""One request to a route that generates: read, rendered, edited, and encoded for the engine."""

from __future__ import annotations

import dataclasses
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from unhitch.draw import Draw
from unhitch.errors import CheckpointError, InvalidBody, MitigationUnavailable
from unhitch.mitigation import Mitigated, Step, mitigate
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import FIELD, Patch
from unhitch.states.shelf import Shelf
from unhitch.strategies import best_of
from unhitch_server import splice
from unhitch_server.access import bounds
from unhitch_server.body import text_of
from unhitch_server.config import EngineRendering
from unhitch_server.policy.decision import Decision
from unhitch_server.reply import OpenAIErrors
from unhitch_server.routes.confirmation import Confirmation
from unhitch_server.states.confirmation import PARAMS

PROBE_MESSAGES: tuple[Mapping[str, str], ...] = ({"role": "user", "content": "Hello"},)
"""What a probe of a route says beside the token ids that are to be read in its place."""


class Incomparable(Exception):
    """The engine cannot be asked for the same rendering.

    Args:
        field: The body's member that keeps it from that.
    """

    def __init__(self, field: str) -> None:
        super().__init__(field)
        self.field = field


@dataclass(frozen=True, slots=True)
class GenerationRequest(OpenAIErrors, ABC):
    """A body, as text and decoded. A route says how a prompt becomes of it, and how an edited one is sent.

    Errors are written as OpenAI's clients read them, unless a route says otherwise.

    Args:
        text: The body as it came.
        fields: The same, decoded; of members named twice the last counts, as for the engine.
    """

    path: ClassVar[str]
    """The route's path."""

    text: str
    fields: dict[str, Any]

    @classmethod
    def parse(cls, body: bytes, fields: dict[str, Any] | None = None) -> Self:
        """Decodes a body.

        Args:
            body: As it came.
            fields: Its members, if somebody has decoded them already.

        Raises:
            InvalidBody: It is no JSON object in UTF-8, it is nested too deeply or has too many messages, `model` is no
                string, or `kv_transfer_params` is no object or has our member.
        """
        bounds.check_depth(body)
        text = text_of(body)
        try:
            fields = json.loads(text) if fields is None else fields
        except (ValueError, RecursionError) as error:
            raise InvalidBody(f"the body is no JSON: {error}") from error
        if not isinstance(fields, dict):
            raise InvalidBody(f"the body must be a JSON object, not {type(fields).__name__}")
        bounds.check_messages(fields)
        transfer = fields.get(PARAMS)
        if not isinstance(transfer, dict | None):
            raise InvalidBody(f"{PARAMS} must be an object", param=PARAMS)
        if transfer is not None and FIELD in transfer:
            raise InvalidBody(
                f"{PARAMS}.{FIELD} is set beside a mitigation, which writes that member itself. Leave it out and name "
                "`prefix-state` or `postfix-state`, or turn the mitigation off.",
                param=f"{PARAMS}.{FIELD}",
            )
        if not isinstance(fields.get("model"), str | None):
            raise InvalidBody(f"model must be a string, not {fields['model']!r}", param="model")
        return cls(text, fields)

    @property
    def model(self) -> str | None:
        """The model's name; None leaves the choice to the engine."""
        return self.fields.get("model")

    @property
    def wants_token_ids(self) -> bool:
        """Whether the client itself asked for the token ids that confirm an edit, on routes that give them."""
        return self.asks_for("return_token_ids")

    def asks_for(self, name: str) -> bool:
        """Whether a member is set, as the engine reads what is to be true or false."""
        return self.fields.get(name) in (True, 1, "true", "True", "1", "on", "yes", "t", "y")

    def params_with(self, members: Mapping[str, str]) -> str:
        """The client's `kv_transfer_params`, if there are any, with members set: as JSON.

        Args:
            members: JSON text by member name.
        """
        transfer = "{}"
        for member in splice.members(self.text):  # of members named twice the last counts
            if member.key == PARAMS and self.fields[PARAMS] is not None:
                transfer = self.text[member.value_start : member.stop]
        return splice.put(transfer, members)

    @abstractmethod
    def prompt(self, checkpoint: Checkpoint, rendering: EngineRendering) -> Prompt:
        """What the engine would make of the body.

        Raises:
            InvalidBody: What the prompt is made of is malformed.
            MitigationUnavailable: It cannot be told what the engine would make of it.
        """

    @abstractmethod
    def encode(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = ()) -> bytes:
        """The body with the prompt as token ids in it and nothing else changed, for the engine.

        Args:
            token_ids: The prompt.
            patches: What the engine is to serve from states.

        Raises:
            MitigationUnavailable: The body asks for what cannot be served from a state.
        """

    @abstractmethod
    def confirmation(self, mitigated: Mitigated) -> Confirmation:
        """What reads the answer for the engine's word that it took the edit."""

    @abstractmethod
    def tokenizing(self, prompt: Prompt) -> Mapping[str, Any] | None:
        """The body, less the model, with which the engine's /tokenize gives the prompt before the edit.

        Args:
            prompt: As `prompt` gave it.

        Returns:
            None where the client gave token ids itself, so that the engine renders nothing.

        Raises:
            Incomparable: /tokenize does not take something that decides what is rendered.
        """

    @classmethod
    def probing(cls, token_ids: tuple[int, ...]) -> Mapping[str, Any] | None:  # noqa: ARG003 - by default none
        """The body, less the model, of a probe that shows whether the engine reads token ids on this route.

        Args:
            token_ids: What it is to read in place of `PROBE_MESSAGES`.

        Returns:
            None where each answer proves itself before the client sees any of it, so that no probe is needed.
        """
        return None

    @classmethod
    def probed(cls, token_ids: tuple[int, ...]) -> Confirmation:
        """What reads the answer to the probe."""
        return Confirmation(token_ids)

    @staticmethod
    def probe_messages(token_ids: tuple[int, ...]) -> dict[str, Any]:
        """The messages of a probe, and the token ids beside them."""
        return {"messages": list(PROBE_MESSAGES), PARAMS: {"prompt_token_ids": list(token_ids)}}

    def require_choosable(self) -> None:
        """Refuses a body whose answer `best-of` could not rate before it is returned.

        Raises:
            MitigationUnavailable: Always, but on routes that say otherwise.
        """
        raise MitigationUnavailable(
            f"`best-of` rates answers of /v1/chat/completions only, and this is {self.path}. Use that route, or leave "
            "`best-of` out."
        )

    def prepare(
        self, checkpoint: Checkpoint, decision: Decision, rendering: EngineRendering, shelf: Shelf | None = None
    ) -> tuple[Mitigated, bytes]:
        """The edit, and the body for the engine. Blocks for about a millisecond: call it in a thread.

        Args:
            checkpoint: Of the model that the request names.
            decision: Strategies, and the session if the caller named one.
            rendering: How the engine renders.
            shelf: The states that can be served.

        Raises:
            InvalidBody: What the prompt is made of is malformed.
            StateMissing: A state is needed that is not on the shelf.
            MitigationUnavailable: The edit cannot be made.
        """
        mitigated = self.edit(checkpoint, decision, rendering, shelf)
        return mitigated, self.encode(mitigated.after.token_ids, mitigated.after.patches)

    def edit(
        self, checkpoint: Checkpoint, decision: Decision, rendering: EngineRendering, shelf: Shelf | None = None
    ) -> Mitigated:
        """Renders and applies the strategies; takes and raises what `prepare` does."""
        with _from_files():
            return mitigate(*self._start(checkpoint, decision, rendering, shelf))

    def prepare_draws(
        self, checkpoint: Checkpoint, decision: Decision, rendering: EngineRendering, shelf: Shelf | None = None
    ) -> list[tuple[Mitigated, bytes]]:
        """The draws of `best-of`, each with its body for the engine; equal edits stand once, at the lowest draw.

        Takes and raises what `prepare` does; `best-of` leads the decision's steps.

        Raises:
            MitigationUnavailable: All draws give the same edit, too.
        """
        with _from_files():
            prompt, steps, draw = self._start(checkpoint, decision, rendering, shelf)
            edits = [mitigate(prompt, *variant) for variant in best_of.variants(steps, draw)]
        different: dict[object, Mitigated] = {}
        for edit in edits:
            different.setdefault((edit.after.token_ids, edit.after.patches), edit)
        if len(different) == 1:
            raise best_of.nothing_to_choose(decision.steps)
        return [(edit, self.encode(edit.after.token_ids, edit.after.patches)) for edit in different.values()]

    def _start(
        self, checkpoint: Checkpoint, decision: Decision, rendering: EngineRendering, shelf: Shelf | None
    ) -> tuple[Prompt, tuple[Step, ...], Draw]:
        """The prompt as rendered, the steps, and the chance of every step that has no seed of its own."""
        prompt = dataclasses.replace(self.prompt(checkpoint, rendering), shelf=shelf, evidence=decision.view)
        key = decision.session
        if key is None:
            key = f"{self.model}\n{prompt.conversation.opening()}"
        return prompt, decision.steps, Draw.from_text(key)


@contextmanager
def _from_files() -> Iterator[None]:
    """Says of a fault of the model's files that it stands in the way of the edit."""
    try:
        yield
    except CheckpointError as error:
        raise MitigationUnavailable(f"the model's files do not allow this edit: {error.message}") from error
