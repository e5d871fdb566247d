"""`/unhitch/v1/explain`: what a chat request would become, token by token; nothing is generated."""

from __future__ import annotations

import dataclasses
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unhitch import headers as wire
from unhitch.mitigation import Mitigated
from unhitch.rendering.anatomy import describe
from unhitch_server.chat import ChatRequest
from unhitch_server.config import Config
from unhitch_server.engine import Engine
from unhitch_server.policy import PolicyTable
from unhitch_server.reply import read_body

router = APIRouter()


@router.post("/unhitch/v1/explain")
async def explain(request: Request) -> JSONResponse:
    """Takes a chat completion's body and headers; answers with the anatomy before and after the edit."""
    engine: Engine = request.app.state.engine
    policies: PolicyTable = request.app.state.policies
    decision = policies.decide(request.headers.raw)
    config: Config = request.app.state.config
    chat = ChatRequest.parse(await read_body(request.receive, request.headers.raw, config.max_body_bytes))
    customer = await engine.customer(chat.model)
    work = partial(chat.prepare, customer.checkpoint, decision, config)
    mitigated, _ = await engine.states.stocked(work, customer, capture=False)
    return JSONResponse(explanation(customer.name, mitigated))


def explanation(model: str, mitigated: Mitigated) -> dict[str, Any]:
    """The dry run as JSON.

    Args:
        model: The served model's name.
        mitigated: What would be done.
    """
    return {
        "object": "unhitch.explanation",
        "model": model,
        "applied": wire.format_applied(mitigated.applied),
        "before": [dataclasses.asdict(token) for token in describe(mitigated.before)],
        "after": [dataclasses.asdict(token) for token in describe(mitigated.after)],
    }
