"""Confirmation by the number of the prompt's tokens, on a route that echoes no token ids."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unhitch.errors import MitigationUnconfirmed
from unhitch_server import splice
from unhitch_server.routes.confirmation import Confirmation, decoded, says
from unhitch_server.states.confirmation import PARAMS, error_words

_COUNTS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""Together the whole prompt: those read from the cache are not among the input's."""


class Counted(Confirmation):
    """Reads an Anthropic answer for the number of tokens that the engine read; a stream says it in its first event.

    What this shows: the engine read as many tokens as it was sent. Where the edit changes the number of tokens (as
    `bare` and `system` do) that tells it from the prompt of the messages themselves. Where it does not (`perturb`
    replaces one by one) it does not, and then it rests on the probe of this route (`probing.RouteProbes`): that this
    engine, asked shortly before with ids of another number than the messages have, read the ids. What is not shown is
    that it read just these ids.
    """

    def settle(self, answer: bytes) -> bytes:
        """The answer, or the data of the next event, as it came.

        Raises:
            MitigationUnconfirmed: Something comes before the number of tokens, or it is another number.
        """
        if self.given and self.begun:
            return answer
        fields = decoded(answer)
        kind = fields.get("type")
        if (kind == "error" or fields.get("error")) and not says(fields):
            self.failed = True  # its own words are the most useful ones
            self.words = error_words(answer)
        elif not self.given and kind != "ping":
            message = fields.get("message") if kind == "message_start" else fields
            self._count(message if isinstance(message, dict) else {})
        elif kind != "ping":
            self.begun = True
        return answer

    def settle_whole(self, answer: bytes) -> bytes:
        """The answer as the client gets it; where states were served without our member, as vLLM would have it.

        Raises:
            MitigationUnconfirmed: The engine read another number of tokens, or did not serve just the states that it
                was to.
        """
        settled = super().settle_whole(answer)
        if settled == answer or decoded(settled).get(PARAMS) is not None:
            return settled
        return splice.without(settled.decode("utf-8"), PARAMS).encode("utf-8")  # nulls are left out on this route

    def _count(self, message: Mapping[str, Any]) -> None:
        if isinstance(name := message.get("id"), str):
            self.request_id = name
        usage = message.get("usage")
        counts = [usage.get(name) or 0 for name in _COUNTS] if isinstance(usage, dict) else []
        found = sum(counts) if counts and all(type(count) is int for count in counts) else None
        if found != len(self._token_ids):
            raise MitigationUnconfirmed(
                "the engine did not confirm the edited prompt: "
                + ("it does not say how many" if found is None else f"it says that it read {found}")
                + f" tokens, and {len(self._token_ids)} were sent. Its answer is withheld. Another proxy between may "
                "drop kv_transfer_params."
            )
        self.given = True
