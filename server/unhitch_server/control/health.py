"""`/healthz`: the proxy runs. `/readyz`: it can serve mitigated requests."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unhitch.errors import UnhitchError
from unhitch_server.engine import Engine

router = APIRouter()


@router.api_route("/healthz", methods=["GET", "HEAD"])
async def healthz() -> dict[str, str]:
    """200 as long as the proxy answers; says nothing of the engine."""
    return {"status": "ok"}


@router.api_route("/readyz", methods=["GET", "HEAD"])
async def readyz(request: Request) -> JSONResponse:
    """200 when every model of the engine can be mitigated; else 503 with what stands in the way, by model."""
    engine: Engine = request.app.state.engine
    problems: dict[str, str] = {}
    names: list[str] = []
    try:
        names = list(await engine.models())
    except UnhitchError as error:
        problems["engine"] = error.message
    for name in names:
        try:
            await engine.checkpoint(name)
        except UnhitchError as error:
            problems[name] = error.message
    body = {"status": "not ready" if problems else "ready", "models": names, "problems": problems}
    return JSONResponse(body, status_code=503 if problems else 200)
