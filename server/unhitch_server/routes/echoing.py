"""Confirmation by the token ids that end an answer, where a stream gives them with its last event only."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.errors import MitigationUnconfirmed
from unhitch.states.patch import Patch
from unhitch_server import splice
from unhitch_server.routes.confirmation import Confirmation, decoded, says
from unhitch_server.states.confirmation import check_patches, error_words, without_member

_OPENING = frozenset({"response.created", "response.queued", "response.in_progress"})
"""Events that come before anything is generated; they say nothing of the prompt."""

_END = frozenset({"response.completed", "response.incomplete"})

# Most events are pieces of text and need not be decoded. Quotes within strings are escaped, so no text looks like it.
_MAY_FAIL = re.compile(rb'"(?:error|response\.failed)"')

_ASKED_FOR = ("input_messages", "output_messages")
"""What `enable_response_messages` has the engine fill in."""


class Echoed(Confirmation):
    """Reads an answer of /v1/responses for the token ids of the prompt.

    What this shows: a whole answer is withheld unless the engine says that it read just the ids it was sent. A stream
    says so only in its last event, with the same words; until then it rests on the probe of this route
    (`probing.RouteProbes`): that this engine, asked shortly before, read the ids it was sent there. A stream whose end
    is other, or is missing, is ended with an error in place of that event. What has been passed on by then cannot be
    taken back: the client learns of it before it has a complete answer.

    Args:
        token_ids: What the engine was sent.
        patches: What it was to serve from states; a stream's last event confirms these, too.
        strip: Whether what only we asked for is taken out of the answer.
    """

    def __init__(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = (), *, strip: bool = True) -> None:
        super().__init__(token_ids, patches, strip=strip)
        self._streaming = False
        self._ended = False

    def settle(self, answer: bytes) -> bytes:
        """The answer, or the data of the next event, as the client gets it.

        Raises:
            MitigationUnconfirmed: It is neither, or the engine read other token ids or served other states.
        """
        if self.given and self.begun and not any(kind.encode() in answer for kind in _END):
            self.failed = self.failed or (_MAY_FAIL.search(answer) is not None and _failed(decoded(answer)))
            return answer
        fields = decoded(answer)
        kind = None if fields.get("type") is None else str(fields["type"])
        if _failed(fields) and (self.given or not says(fields)):
            self.failed = True  # its own words are the most useful ones
            self.words = error_words(answer)
        elif kind is None:
            self._confirm_ids(fields)
            self.given = True
            return self._stripped(answer, ())
        elif kind in _END:
            response = fields.get("response")
            response = response if isinstance(response, dict) else {}
            self._confirm_ids(response)
            if self.patches:
                check_patches(response, self.patches)
            self.given = self.begun = self._ended = True
            return self._stripped(answer, ("response",))
        elif not self.given and kind not in _OPENING:
            raise MitigationUnconfirmed("the engine's stream does not begin as one of /v1/responses; it is withheld.")
        else:
            self._open(fields, kind)
        return answer

    def ended(self) -> None:
        """Sees, at the end of a stream, that its last event confirmed the edit.

        Raises:
            MitigationUnconfirmed: There was no such event.
        """
        if self._streaming and not (self._ended or self.failed):
            raise MitigationUnconfirmed(
                "the engine's stream ended without the event that says which prompt it read, so the edited prompt was "
                "not confirmed. Do not use what came before."
            )

    def _open(self, fields: Mapping[str, Any], kind: object) -> None:
        self._streaming = self.given = True
        response = fields.get("response")
        if isinstance(response, dict) and isinstance(name := response.get("id"), str):
            self.request_id = name
        self.begun = self.begun or kind not in _OPENING

    def _confirm_ids(self, response: Mapping[str, Any]) -> None:
        if isinstance(name := response.get("id"), str):
            self.request_id = name
        messages = response.get("input_messages")
        only = messages[0] if isinstance(messages, list) and len(messages) == 1 else None
        found = only.get("tokens") if isinstance(only, dict) else None
        if found != self._token_ids:
            raise MitigationUnconfirmed(
                "the engine did not confirm the edited prompt: "
                + ("it says nothing of the token ids that it read" if found is None else "it read other token ids")
                + ". Its answer is withheld, or cut off where it was streamed. Another proxy between may drop "
                "kv_transfer_params or enable_response_messages."
            )

    def _stripped(self, answer: bytes, within: Sequence[str]) -> bytes:
        """The answer without what only we asked for: null in its place; a whole one keeps our member for now."""
        text = answer.decode("utf-8")
        start, stop = 0, len(text)
        for name in within:
            member = [each for each in splice.members(text, start) if each.key == name][-1]
            start, stop = member.value_start, member.stop
        value = text[start:stop]
        if self._strip:
            edits = [(each.value_start, each.stop, "null") for each in splice.members(value) if each.key in _ASKED_FOR]
            value = splice.apply(value, edits)
        if within and self.patches:
            value = without_member(value)
        return (text[:start] + value + text[stop:]).encode("utf-8")


def _failed(fields: Mapping[str, Any]) -> bool:
    """Whether an answer or an event says that the engine failed."""
    return bool(fields.get("error")) or str(fields.get("type")) in ("error", "response.failed")
