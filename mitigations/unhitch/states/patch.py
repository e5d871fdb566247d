"""What a request asks the engine to serve from a state, and in which words it is asked and confirmed.

The words stand in `kv_transfer_params` of the request, beside `prompt_token_ids`, and again in that of the answer:

    {"unhitch": {"patches": [{"state": "5e1f...", "start": 0, "tokens": 27}]}}
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from unhitch.errors import StateError

FIELD = "unhitch"
"""Our member of `kv_transfer_params`."""

PROTOCOL = 1
"""Version of these words, and of the routes of the engine's side."""

CONNECTOR_HEADER = "Unhitch-Connector"
"""On every answer of an engine that has the connector: the version of the protocol.

Such an engine serves a request that names states patched, or fails it; so the header confirms a stream, whose chunks
have no place for a receipt. Not so `use_beam_search`, which drops our words inside vLLM: refuse it before.
"""

STATES_ROUTE = "/v1/unhitch/states"
"""On the engine: what it serves patched. `/v1/unhitch/states/ID` verifies one state's bytes."""


class Patch(BaseModel):
    """Positions of a prompt whose K/V are served from a state.

    Args:
        state: Its id.
        start: Position of the prompt that the state's first position is served at.
        tokens: How many positions, from the state's first on.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    state: str = Field(pattern="^[0-9a-f]{64}$")
    start: int = Field(ge=0)
    tokens: int = Field(ge=1)

    @property
    def stop(self) -> int:
        """The position behind the last one."""
        return self.start + self.tokens


_PATCHES = TypeAdapter(list[Patch])


def to_params(patches: Sequence[Patch]) -> dict[str, Any]:
    """Our member of `kv_transfer_params`, as JSON."""
    return {"patches": [patch.model_dump() for patch in patches]}


def from_params(member: object) -> tuple[Patch, ...]:
    """Reads our member of `kv_transfer_params`.

    Raises:
        StateError: It is malformed, or its patches overlap.
    """
    entries = member.get("patches") if isinstance(member, dict) else None
    try:
        patches = sorted(_PATCHES.validate_python(entries), key=lambda patch: patch.start)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(map(str, (FIELD, "patches", *fault["loc"])))
        raise StateError(f"kv_transfer_params.{place}: {fault['msg']}, not {fault['input']!r}") from error
    if not patches:
        raise StateError(f"kv_transfer_params.{FIELD}.patches names no patch")
    if any(one.stop > other.start for one, other in pairwise(patches)):
        raise StateError("two patches name the same position of the prompt")
    return tuple(patches)
