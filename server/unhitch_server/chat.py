"""One mitigated chat completion: rendered, edited, sent as token ids, and confirmed before the client sees a byte."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from unhitch.draw import Draw
from unhitch.errors import CheckpointError, InvalidBody, MitigationUnavailable, MitigationUnconfirmed
from unhitch.mitigation import Mitigated, mitigate
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import FIELD, Patch, to_params
from unhitch.states.shelf import Shelf
from unhitch.strategies import best_of
from unhitch_server import splice
from unhitch_server.config import Config
from unhitch_server.policy import Decision
from unhitch_server.states.confirmation import PARAMS, check_patches, error_words, require_patchable, without_member

PATH = "/v1/chat/completions"

# The usual chunk of a stream: the ids end its only choice. Quotes within strings are escaped, so no text looks like it.
_LAST_CHOICE_IDS = re.compile(rb'"token_ids": ?(\[[\d, ]*\])\}\]')


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """A chat body, as text and decoded.

    Args:
        text: The body as it came.
        fields: The same, decoded; of members named twice the last counts, as for the engine.
    """

    text: str
    fields: dict[str, Any]

    @classmethod
    def parse(cls, body: bytes) -> ChatRequest:
        """Decodes a body.

        Raises:
            InvalidBody: It is no JSON object in UTF-8, `model` is no string, or `kv_transfer_params` is no object or
                has our member.
        """
        try:
            text = body.decode("utf-8")
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InvalidBody(f"the body is no JSON: {error}") from error
        if not isinstance(fields, dict):
            raise InvalidBody(f"the body must be a JSON object, not {type(fields).__name__}")
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
        """Whether the client itself asked for the token ids that confirm an edit."""
        return self.fields.get("return_token_ids") in (True, 1, "true", "True", "1", "on", "yes", "t", "y")

    def prepare(
        self, checkpoint: Checkpoint, decision: Decision, config: Config, shelf: Shelf | None = None
    ) -> tuple[Mitigated, bytes]:
        """The edit, and the body for the engine. Blocks for about a millisecond: call it in a thread.

        Args:
            checkpoint: Of the model that the request names.
            decision: Strategies, and the session if the caller named one.
            config: Says how the engine renders.
            shelf: The states that can be served.

        Raises:
            InvalidBody: The messages are malformed.
            StateMissing: A state is needed that is not on the shelf.
            MitigationUnavailable: The edit cannot be made.
        """
        conversation = config.conversation(self.fields, checkpoint.content_format)
        mitigated = self.edit(checkpoint, decision, conversation, shelf)
        return mitigated, self.encode(mitigated.after.token_ids, mitigated.after.patches)

    def edit(
        self, checkpoint: Checkpoint, decision: Decision, conversation: Conversation, shelf: Shelf | None = None
    ) -> Mitigated:
        """Renders the conversation and applies the strategies.

        Raises:
            StateMissing: A state is needed that is not on the shelf.
            MitigationUnavailable: The edit cannot be made.
        """
        prompt, draw = self._start(checkpoint, decision, conversation, shelf)
        with _from_files():
            return mitigate(prompt, decision.steps, draw)

    def prepare_draws(
        self, checkpoint: Checkpoint, decision: Decision, config: Config, shelf: Shelf | None = None
    ) -> list[tuple[Mitigated, bytes]]:
        """The draws of `best-of`, each with its body for the engine; equal edits stand once, at the lowest draw.

        Takes and raises what `prepare` does; `best-of` leads the decision's steps.

        Raises:
            MitigationUnavailable: All draws give the same edit, too.
        """
        conversation = config.conversation(self.fields, checkpoint.content_format)
        prompt, draw = self._start(checkpoint, decision, conversation, shelf)
        with _from_files():
            edits = [mitigate(prompt, *variant) for variant in best_of.variants(decision.steps, draw)]
        different: dict[object, Mitigated] = {}
        for edit in edits:
            different.setdefault((edit.after.token_ids, edit.after.patches), edit)
        if len(different) == 1:
            raise best_of.nothing_to_choose(decision.steps)
        return [(edit, self.encode(edit.after.token_ids, edit.after.patches)) for edit in different.values()]

    def _start(
        self, checkpoint: Checkpoint, decision: Decision, conversation: Conversation, shelf: Shelf | None
    ) -> tuple[Prompt, Draw]:
        """The prompt as rendered, and the chance of every step that has no seed of its own."""
        key = decision.session if decision.session is not None else f"{self.model}\n{conversation.opening()}"
        with _from_files():
            return dataclasses.replace(
                render(checkpoint, conversation), shelf=shelf, evidence=decision.view
            ), Draw.from_text(key)

    def encode(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = ()) -> bytes:
        """The body with the prompt as token ids in it and nothing else changed, for the engine.

        Args:
            token_ids: The prompt.
            patches: What the engine is to serve from states.

        Raises:
            MitigationUnavailable: The body asks for what cannot be served from a state.
        """
        ours = {"prompt_token_ids": json.dumps(token_ids, separators=(",", ":"))}
        if patches:
            require_patchable(self.fields)
            ours[FIELD] = json.dumps(to_params(patches), separators=(",", ":"))
        transfer = "{}"
        for member in splice.members(self.text):  # of members named twice the last counts
            if member.key == PARAMS and self.fields[PARAMS] is not None:
                transfer = self.text[member.value_start : member.stop]
        members = {PARAMS: splice.put(transfer, ours), "return_token_ids": "true"}
        return splice.put(self.text, members).encode("utf-8")


@contextmanager
def _from_files() -> Iterator[None]:
    """Says of a fault of the model's files that it stands in the way of the edit."""
    try:
        yield
    except CheckpointError as error:
        raise MitigationUnavailable(f"the model's files do not allow this edit: {error.message}") from error


class Confirmation:
    """Reads an answer for the engine's word that it read the edited prompt, and takes out what only we asked for.

    Args:
        request: What the client asked.
        token_ids: What the engine was sent.
        patches: What it was to serve from states, in order of position. A stream has no word for these; there the
            header of its answer must do (`unhitch_server.states.confirmation.check_connector`).
    """

    def __init__(self, request: ChatRequest, token_ids: tuple[int, ...], patches: Sequence[Patch] = ()) -> None:
        self._token_ids = list(token_ids)
        self.patches = patches
        self._strip = not request.wants_token_ids
        self.given = False
        """Whether the engine has said that it read the edited prompt."""
        self.begun = not patches
        """Whether it has generated something, too: vLLM opens the stream of a request that it fails as any other's."""
        self.failed = False
        """Whether the engine has said instead that it failed."""
        self.words = ""
        """What it said then."""
        self.request_id: str | None = None
        """What it called the request before."""

    def settle_whole(self, answer: bytes) -> bytes:
        """The answer as the client gets it.

        Args:
            answer: A JSON object.

        Raises:
            MitigationUnconfirmed: The engine read other token ids, or did not serve just the states that it was to.
        """
        settled = self.settle(answer)
        if not self.patches or self.failed:
            return settled
        check_patches(_object(answer), self.patches)
        return without_member(settled.decode("utf-8")).encode("utf-8")

    def settle(self, answer: bytes) -> bytes:
        """The answer, or the next chunk of a stream, as the client gets it.

        Args:
            answer: A JSON object, or what ends a stream.

        Raises:
            MitigationUnconfirmed: Something comes before the engine's word, or it read other token ids.
        """
        if not (self.given and self.begun):
            fields = _object(answer)
            if isinstance(name := fields.get("id"), str):
                self.request_id = name
            if fields.get("error") and not fields.get("choices"):
                self.failed = True  # its own words are the most useful ones
                self.words = error_words(answer)
                return answer
            if not self.given and not (self.failed and answer.strip() == b"[DONE]"):
                self._confirm(fields)
                self.given = True
            self.begun = self.begun or _generated(fields)
        if not self._strip or b"token_ids" not in answer:
            return answer
        if (
            answer.count(b"token_ids") == 1
            and answer.count(b"[{") == answer.count(b'"choices":[{') == 1
            and (match := _LAST_CHOICE_IDS.search(answer))
        ):
            return answer[: match.start(1)] + b"null" + answer[match.end(1) :]
        try:
            return without_token_ids(answer.decode("utf-8")).encode("utf-8")
        except (InvalidBody, UnicodeDecodeError):
            return answer  # no JSON: not ours to understand, nor to change

    def _confirm(self, fields: dict[str, Any]) -> None:
        found = fields.get("prompt_token_ids")
        if found != self._token_ids:
            raise MitigationUnconfirmed(
                "the engine did not confirm the edited prompt: "
                + ("it says nothing of the token ids that it read" if found is None else "it read other token ids")
                + ". Its answer is withheld. Another proxy between may drop kv_transfer_params or return_token_ids."
            )


def _generated(chunk: dict[str, Any]) -> bool:
    """Whether a chunk of a stream holds generated tokens, or the end of a choice."""
    choices = chunk.get("choices")
    return any(
        isinstance(choice, dict) and (choice.get("token_ids") or choice.get("finish_reason"))
        for choice in (choices if isinstance(choices, list) else ())
    )


def _object(answer: bytes) -> dict[str, Any]:
    """The decoded answer; empty where it is no JSON object."""
    try:
        fields = json.loads(answer)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}


def without_token_ids(answer: str) -> str:
    """The answer, or a chunk of it, as it would be had no token ids been asked for: null in their place."""
    edits: list[tuple[int, int, str]] = []
    for member in splice.members(answer):
        if member.key == "prompt_token_ids":
            edits.append((member.value_start, member.stop, "null"))
        elif member.key == "choices" and answer[member.value_start] == "[":
            for start, _ in splice.elements(answer, member.value_start):
                if answer[start] == "{":
                    edits += [
                        (inner.value_start, inner.stop, "null")
                        for inner in splice.members(answer, start)
                        if inner.key == "token_ids"
                    ]
    return splice.apply(answer, edits)
