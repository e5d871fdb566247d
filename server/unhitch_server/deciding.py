"""What a request gets, decided in one way for a request that is served and for one that is only explained."""

from __future__ import annotations

import asyncio
from typing import Any, NamedTuple

from unhitch_server.access.caller import Caller
from unhitch_server.body import fields_of, model_of, renamed
from unhitch_server.policy.decision import Decision
from unhitch_server.policy.opening import opening
from unhitch_server.policy.table import PolicyTable
from unhitch_server.routes.classes import READ_METHODS
from unhitch_server.upstream.connection import Headers


class Decided(NamedTuple):
    """A decision, and the body that goes on under it."""

    decision: Decision
    body: bytes
    """As it came, but for the engine's name of the model in the place of an alias."""
    fields: dict[str, Any] | None
    """Its members, where somebody had to look at them."""


async def decide(
    table: PolicyTable, caller: Caller, headers: Headers, body: bytes, *, method: str, route: str, generates: bool
) -> Decided:
    """What a request gets.

    Args:
        table: The policies.
        caller: Whoever sent it.
        headers: Raw header lines; names in any case.
        body: The whole body; it is read only where it matters.
        method: The HTTP method.
        route: The path, percent-decoded, without the query.
        generates: Whether an answer may be generated.

    Raises:
        NotPermitted: The caller's key is not for the model, or not for the policy.
        UnhitchError: What `PolicyTable.decide` raises, or an alias stands in a body that is not in UTF-8.
    """
    reads = method in READ_METHODS
    fields, begins = None, None
    if not reads and (table.needs_body or not caller.any_model):
        fields, begins = await asyncio.to_thread(_looked_at, body)
    model = model_of(fields)
    if generates or (body and not reads):
        caller.require_model(model)
    decision = table.decide(headers, key=caller.name, model=model, route=route, opening=begins, generates=generates)
    if generates:
        caller.require_policy(decision.policy)
    if decision.model is not None:
        body = await asyncio.to_thread(renamed, body, decision.model)
        fields = {**(fields or {}), "model": decision.model}
    return Decided(decision, body, fields)


def _looked_at(body: bytes) -> tuple[dict[str, Any] | None, str | None]:
    fields = fields_of(body)
    return fields, opening(fields)
