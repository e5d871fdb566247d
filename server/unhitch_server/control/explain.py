"""`/unhitch/v1/explain`: what a chat request would become, token by token; nothing is generated."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unhitch import headers as wire
from unhitch.evidence.standing import Evidence
from unhitch.mitigation import Mitigated
from unhitch.rendering.anatomy import describe
from unhitch_server.config import Config
from unhitch_server.engine import Engine
from unhitch_server.gate import Gate
from unhitch_server.policy.table import PolicyTable
from unhitch_server.reply import read_body
from unhitch_server.routes.chat import ChatRequest

router = APIRouter()


@router.post("/unhitch/v1/explain")
async def explain(request: Request) -> JSONResponse:
    """Takes a chat completion's body and headers; answers with the anatomy before and after the edit.

    What is not validated is shown, too, whatever the operator requires: nothing is generated.
    """
    engine: Engine = request.app.state.main.engine
    policies: PolicyTable = request.app.state.policies.current
    decision = policies.decide(request.headers.raw)
    config: Config = request.app.state.config
    chat = ChatRequest.parse(await read_body(request.receive, request.headers.raw, config.max_body_bytes))
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
