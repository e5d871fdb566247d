"""The engine's word that it read the edited prompt, on routes that echo token ids."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.errors import InvalidBody, MitigationUnconfirmed
from unhitch.states.patch import Patch
from unhitch_server import splice
from unhitch_server.states.confirmation import check_patches, error_words, without_member

# The usual chunk of a stream: the ids end its only choice, on completions behind what was said once of the prompt's.
# Quotes within strings are escaped, so no text looks like it.
_LAST_CHOICE_IDS = re.compile(rb'("prompt_token_ids": ?null, ?)?"token_ids": ?(\[[\d, ]*\])\}\]')

_GENERATED = ("choices", "content", "output", "delta", "content_block", "item", "part")
"""Members that hold what was generated, on any of the routes."""


class Confirmation:
    """Reads an answer for the engine's word that it read the edited prompt, and takes out what only we asked for.

    Args:
        token_ids: What the engine was sent.
        patches: What it was to serve from states, in order of position. A stream has no word for these; there the
            header of its answer must do (`unhitch_server.states.confirmation.check_connector`).
        strip: Whether token ids are taken out of the answer, since the client asked for none.
    """

    def __init__(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = (), *, strip: bool = True) -> None:
        self._token_ids = list(token_ids)
        self.patches = patches
        self._strip = strip
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
        check_patches(decoded(answer), self.patches)
        return without_member(settled.decode("utf-8")).encode("utf-8")

    def settle(self, answer: bytes) -> bytes:
        """The answer, or the next chunk of a stream, as the client gets it.

        Args:
            answer: A JSON object, or what ends a stream.

        Raises:
            MitigationUnconfirmed: Something comes before the engine's word, or it read other token ids.
        """
        if not (self.given and self.begun):
            fields = decoded(answer)
            if isinstance(name := fields.get("id"), str):
                self.request_id = name
            if fields.get("error") and not says(fields):
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
            answer.count(b"[{") == answer.count(b'"choices":[{') == 1
            and (match := _LAST_CHOICE_IDS.search(answer))
            and answer.count(b"token_ids") == (1 if match[1] is None else 2)
        ):
            return answer[: match.start(2)] + b"null" + answer[match.end(2) :]
        try:
            return without_token_ids(answer.decode("utf-8")).encode("utf-8")
        except (InvalidBody, UnicodeDecodeError):
            return answer  # no JSON: not ours to understand, nor to change

    def ended(self) -> None:
        """Sees, at the end of a stream that the client has seen, that nothing is left to be confirmed.

        Raises:
            MitigationUnconfirmed: The end itself had to confirm the edit, and did not.
        """

    def echoed(self, fields: Mapping[str, Any]) -> object:
        """The prompt's token ids that the engine says it read; None where it says nothing of them.

        Args:
            fields: A decoded answer, or the first chunk of a stream.
        """
        return fields.get("prompt_token_ids")

    def _confirm(self, fields: dict[str, Any]) -> None:
        found = self.echoed(fields)
        if found != self._token_ids:
            raise MitigationUnconfirmed(
                "the engine did not confirm the edited prompt: "
                + ("it says nothing of the token ids that it read" if found is None else "it read other token ids")
                + ". Its answer is withheld. Another proxy between may drop kv_transfer_params or return_token_ids."
            )


class ChoiceConfirmation(Confirmation):
    """The same where each choice echoes the prompt: on completions."""

    def echoed(self, fields: Mapping[str, Any]) -> object:
        """The prompt's token ids that all choices name alike; what one of them names, where they differ."""
        named = [choice.get("prompt_token_ids") for choice in _choices(fields)]
        return next((each for each in named if each != self._token_ids), named[0] if named else None)


def _generated(chunk: Mapping[str, Any]) -> bool:
    """Whether a chunk of a stream holds generated tokens, or the end of a choice."""
    return any(choice.get("token_ids") or choice.get("finish_reason") for choice in _choices(chunk))


def _choices(fields: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = fields.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []


def says(fields: Mapping[str, Any]) -> bool:
    """Whether an answer or event holds something generated; one that only says what went wrong needs no confirmation.

    Args:
        fields: Decoded.
    """
    response = fields.get("response")
    places = (fields, response if isinstance(response, dict) else {})
    return any(place.get(name) for place in places for name in _GENERATED)


def decoded(answer: bytes) -> dict[str, Any]:
    """A decoded answer or event; empty where it is no JSON object in UTF-8, which alone can be edited."""
    try:
        fields = json.loads(answer.decode("utf-8"))
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
                        if inner.key in ("token_ids", "prompt_token_ids")
                    ]
    return splice.apply(answer, edits)
