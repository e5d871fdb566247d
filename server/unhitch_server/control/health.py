"""`/healthz`: the proxy runs. `/readyz`: it can serve mitigated requests."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unhitch.errors import UnhitchError
from unhitch_server.engine import Engine
from unhitch_server.policy.table import PolicyTable
from unhitch_server.states.desk import fitting

router = APIRouter()


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> dict[str, str]:
    """200 as long as the proxy answers; says nothing of the engine."""
    return {"status": "ok"}


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> JSONResponse:
    """200 when every model of the engine can be mitigated; else 503 with what stands in the way, by model.

    `states` says for each model how many states of the engine are for it, or why it is served none. That none is
    served stands in the way only where the operator's default mitigation or a policy needs a state.
    """
    engine: Engine = request.app.state.engine
    policies: PolicyTable = request.app.state.policies.current
    problems: dict[str, str] = {}
    states: dict[str, dict[str, Any]] = {}
    names: list[str] = []
    try:
        names = list(await engine.models())
    except UnhitchError as error:
        problems["engine"] = error.message
    for name in names:
        try:
            customer = await engine.customer(name)
        except UnhitchError as error:
            problems[name] = error.message
            continue
        try:
            states[name] = {"served": True, "fitting": fitting(await engine.states.learn(customer))}
        except UnhitchError as error:
            states[name] = {"served": False, "reason": error.message}
            if policies.need_states:
                problems[name] = error.message
    status = "not ready" if problems else "ready"
    body = {"status": status, "models": names, "problems": problems, "states": states}
    return JSONResponse(body, status_code=503 if problems else 200)
