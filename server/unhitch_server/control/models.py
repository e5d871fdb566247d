"""`/unhitch/v1/models`: the served models, what identifies them, and what can be done for them."""

from __future__ import annotations

import contextlib
from typing import Any

from fastapi import APIRouter, Request

from unhitch.errors import UnhitchError
from unhitch_server.best_of.scorer import ScorerFailed
from unhitch_server.control.refusals import CONTROL_KEY, ENGINE, refusals
from unhitch_server.engine import Engine, ServedModel
from unhitch_server.gate import Gate
from unhitch_server.states.desk import fitting

router = APIRouter()


@router.get("/unhitch/v1/models", responses=refusals(*CONTROL_KEY, *ENGINE))
async def models(request: Request) -> dict[str, Any]:
    """Every served model: its identity, base, pools and scorer, and whether it can be mitigated and served states.

    `scorer` is what identifies the judge that chooses for `best-of`, the same for all models; null where there is none,
    or it cannot rate now. `reason` stands where something cannot be done, `identity_reason` where the files
    of a model cannot be read.
    """
    engine: Engine = request.app.state.main.engine
    gate: Gate = request.app.state.gate
    with contextlib.suppress(ScorerFailed):
        await gate.scorer_ready()
    served = await engine.models()
    return {"object": "list", "data": [await _described(each, engine, gate) for each in served.values()]}


async def _described(model: ServedModel, engine: Engine, gate: Gate) -> dict[str, Any]:
    found: dict[str, Any] = {
        "id": model.name,
        "object": "unhitch.model",
        "base": model.base,
        "identity": None,
        "pools": {},
        "scorer": None if gate.scorer is None else gate.scorer.model_dump(mode="json"),
    }
    try:
        customer = await engine.customer(model.name)
    except UnhitchError as error:
        return found | {"mitigated": _no(error.message), "identity_reason": error.message, "states": _no(error.message)}
    view = await gate.view(customer)
    if customer.identity is not None:
        found["identity"] = {**customer.identity.model_dump(mode="json"), "digest": customer.identity.digest}
    else:
        found["identity_reason"] = customer.unidentified
    found["pools"] = {
        name: {"content": each.content, "variants": len(each.variants)} for name, each in view.pools.items()
    }
    try:
        states = {"available": True, "fitting": fitting(await engine.states.learn(customer))}
    except UnhitchError as error:
        states = _no(error.message)
    return found | {"mitigated": {"available": True}, "states": states}


def _no(reason: str) -> dict[str, Any]:
    return {"available": False, "reason": reason}
