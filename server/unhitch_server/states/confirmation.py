"""The engine's word that it served the states that a request names, and what such a request may not ask for."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.errors import MitigationUnavailable, MitigationUnconfirmed, StateError
from unhitch.states.patch import CONNECTOR_HEADER, FIELD, PROTOCOL, Patch, from_params
from unhitch_server import splice

PARAMS = "kv_transfer_params"
"""The member of request and answer that ours stands in."""


def require_patchable(fields: Mapping[str, Any]) -> None:
    """Refuses what the engine would compute from K/V of its own.

    Args:
        fields: The decoded body of a request whose prompt has patches.

    Raises:
        MitigationUnavailable: The body asks for log probabilities of the prompt, or for beam search, which vLLM runs
            as requests of its own that know of no states.
    """
    if fields.get("prompt_logprobs") is not None:
        raise MitigationUnavailable(
            "`prompt_logprobs` has the engine compute the whole prompt, and with a state it does not compute all of "
            "it. Leave it out, or name no strategy on states.",
            param="prompt_logprobs",
        )
    if fields.get("use_beam_search") not in (None, False):
        raise MitigationUnavailable(
            "`use_beam_search` has vLLM generate from K/V of its own, so no state could be served. Leave it out, or "
            "name no strategy on states.",
            param="use_beam_search",
        )


def check_connector(version: str | None) -> None:
    """Sees that the engine has a connector that serves a request patched, or fails it.

    Args:
        version: The value of the answer's header `Unhitch-Connector`, if it has one.

    Raises:
        MitigationUnconfirmed: It has none, or one of another protocol.
    """
    if version == str(PROTOCOL):
        return
    found = "has none" if version is None else f"says {version[:80]!r}"
    raise MitigationUnconfirmed(
        f"the engine did not confirm that it serves states: its answer should have the header {CONNECTOR_HEADER} with "
        f"the value {PROTOCOL}, and it {found}. The answer is withheld. Was vLLM restarted without the connector, or "
        "does another proxy between drop headers?"
    )


def check_patches(answer: Mapping[str, Any], patches: Sequence[Patch]) -> None:
    """Sees that a whole answer confirms just the patches that were sent.

    Args:
        answer: Decoded.
        patches: In order of position.

    Raises:
        MitigationUnconfirmed: It confirms others, or none.
    """
    params = answer.get(PARAMS)
    try:
        found = from_params(params.get(FIELD) if isinstance(params, dict) else None)
    except StateError as error:
        raise MitigationUnconfirmed(
            f"the engine did not confirm the states that it was to serve: {error.message}. Its answer is withheld."
        ) from error
    if found != tuple(patches):
        raise MitigationUnconfirmed(
            f"the engine was to serve {_shown(patches)}, and says that it served {_shown(found)}. Its answer is "
            "withheld."
        )


def error_words(answer: bytes) -> str:
    """What an error of the engine says, or the answer itself where it is no error object."""
    try:
        return str(json.loads(answer)["error"]["message"])
    except (ValueError, RecursionError, KeyError, TypeError):
        return answer.decode("utf-8", "replace")


def without_member(answer: str) -> str:
    """The answer without our member, as it would be had no state been asked for; all other bytes as they came."""
    edits: list[tuple[int, int, str]] = []
    for member in splice.members(answer):
        if member.key == PARAMS and answer[member.value_start] == "{":
            value = answer[member.value_start : member.stop]
            kept = splice.without(value, FIELD)
            if kept != value:
                edits.append((member.value_start, member.stop, kept if any(splice.members(kept)) else "null"))
    return splice.apply(answer, edits)


def _shown(patches: Sequence[Patch]) -> str:
    return ", ".join(f"{patch.state[:12]} at {patch.start} to {patch.stop - 1}" for patch in patches)
