"""`/unhitch/v1/policies` and `/unhitch/v1/status`: what is in force, and how the proxy fares."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

from fastapi import APIRouter, Request

from unhitch_server.control.refusals import CONTROL_KEY, refusals
from unhitch_server.policy.locks import allowed
from unhitch_server.policy.reload import Policies

router = APIRouter()


@router.get("/unhitch/v1/policies", responses=refusals(*CONTROL_KEY))
async def policies(request: Request) -> dict[str, Any]:
    """The policies in force, with what clients may change, the rules in their order, and the aliases of models.

    `problem` says why the file as it is now was not taken, where that is so; then the policies before it are in force.
    """
    held: Policies = request.app.state.policies
    table = held.current
    listed = [
        {"name": name, **each.written.model_dump(mode="json"), "allowed": allowed(each)}
        for name, each in table.policies.items()
    ]
    document = table.document.model_dump(mode="json", include={"default", "rules", "models"})
    return {
        "object": "list",
        "data": listed,
        **document,
        "problem": None if held.problem is None else held.problem.message,
    }


@router.get("/unhitch/v1/status", responses=refusals(*CONTROL_KEY))
async def status(request: Request) -> dict[str, Any]:
    """Counts of what became of requests, the state of each engine by upstream, of the shadow arm and of canaries.

    `tasks` is how many tasks the proxy's event loop has, the one that answers this among them.
    """
    state = request.app.state
    return {
        "object": "unhitch.status",
        "requests": state.counters.as_dict(),
        "tasks": len(asyncio.all_tasks()),
        "upstreams": {name: fleet.snapshot() for name, fleet in state.fleets.items()},
        "shadow": None if state.shadows is None else dataclasses.asdict(state.shadows.counts),
        "canaries": {
            name: {"runs": each.runs, **dataclasses.asdict(each.last)} for name, each in state.watches.items()
        },
    }
