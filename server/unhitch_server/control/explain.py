"""`/unhitch/v1/explain`: what a chat request would become, token by token; nothing is generated."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unhitch import headers as wire
from unhitch.evidence.standing import Evidence
from unhitch.mitigation import Mitigated
from unhitch.rendering.anatomy import describe
from unhitch_server.access.caller import ANYONE
from unhitch_server.config import Config
from unhitch_server.control.refusals import CONTROL_KEY, ENGINE, refusals
from unhitch_server.deciding import decide
from unhitch_server.engine import Engine
from unhitch_server.gate import Gate
from unhitch_server.policy.table import PolicyTable
from unhitch_server.reply import read_body
from unhitch_server.routes.chat import ChatRequest

router = APIRouter()

_TAKES = {
    "requestBody": {
        "description": "As of a chat completion; whatever else it has is of no consequence.",
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "properties": {
                        "model": {"type": ["string", "null"]},
                        "messages": {"type": "array", "items": {"type": "object"}},
                        "tools": {"type": ["array", "null"], "items": {"type": "object"}},
                    },
                    "required": ["messages"],
                }
            }
        },
    },
    "parameters": [
        {"name": name, "in": "header", "required": False, "schema": {"type": "string"}}
        for name in (wire.MITIGATION, wire.POLICY, wire.SESSION)
    ],
}
"""What the OpenAPI document says of the request, which is read as bytes."""


@router.post("/unhitch/v1/explain", responses=refusals(400, *CONTROL_KEY, 404, 413, 422, *ENGINE), openapi_extra=_TAKES)
async def explain(request: Request) -> JSONResponse:
    """Takes a chat completion's body and headers; answers with the anatomy before and after the edit.

    What is not validated is shown, too, whatever the operator requires: nothing is generated. Rules and aliases hold as
    on the chat route, for a client without a key.
    """
    policies: PolicyTable = request.app.state.policies.current
    config: Config = request.app.state.config
    headers = request.headers.raw
    came = await read_body(request.receive, headers, config.max_body_bytes)
    decision, body, fields = await decide(
        policies, ANYONE, headers, came, method="POST", route=ChatRequest.path, generates=True
    )
    chat = await asyncio.to_thread(ChatRequest.parse, body, fields)
    engine: Engine = request.app.state.fleets[decision.upstream].engine
    customer = await engine.customer(chat.model)
    gate: Gate = request.app.state.gate
    decision = await gate.inform(decision, customer)
    work = partial(chat.prepare, customer.checkpoint, decision, config)
    mitigated, _ = await engine.states.stocked(work, customer, capture=False)
    return JSONResponse(explanation(customer.name, mitigated, decision.evidence))


def explanation(model: str, mitigated: Mitigated, evidence: Evidence | None = None) -> dict[str, Any]:
    """The dry run as JSON.

    Args:
        model: The served model's name.
        mitigated: What would be done.
        evidence: What is known of it; None where nothing is done, or nothing was looked up.
    """
    return {
        "object": "unhitch.explanation",
        "model": model,
        "applied": wire.format_applied(mitigated.applied),
        "evidence": None if evidence is None else {"status": evidence.status, "sentence": evidence.sentence},
        "before": [dataclasses.asdict(token) for token in describe(mitigated.before)],
        "after": [dataclasses.asdict(token) for token in describe(mitigated.after)],
    }
