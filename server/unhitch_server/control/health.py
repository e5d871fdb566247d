"""`/healthz`: the proxy runs. `/readyz`: it can serve mitigated requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from unhitch.errors import UnhitchError
from unhitch_server.engine import Engine
from unhitch_server.policy.table import PolicyTable
from unhitch_server.states.customer import Customer
from unhitch_server.states.desk import fitting
from unhitch_server.upstream.fleet import Fleet

router = APIRouter()


@router.get("/healthz")
@router.head("/healthz", include_in_schema=False)
async def healthz() -> dict[str, str]:
    """200 as long as the proxy answers; says nothing of the engine."""
    return {"status": "ok"}


@router.get("/readyz", responses={503: {"description": "It is not ready."}})
@router.head("/readyz", include_in_schema=False)
async def readyz(request: Request) -> JSONResponse:
    """200 when every model can be mitigated by an engine of each upstream; else 503 with what stands in the way.

    `problems` has it by model, or by `engine`; names of upstreams beside the main one stand before, as in
    `other/engine`. `states` says for each model how many states of the engine are for it, or why it is served none.
    That none is served stands in the way only where the operator's default mitigation or a policy needs a state.
    """
    state = request.app.state
    main: Fleet = state.main
    readiness = Readiness(state.policies.current)
    for name, fleet in state.fleets.items():
        await readiness.look(fleet.engine, "" if fleet is main else f"{name}/")
    return JSONResponse(readiness.body(), status_code=503 if readiness.problems else 200)


@dataclass(slots=True)
class Readiness:
    """What was found of engines and their models.

    Args:
        policies: Those in force.
    """

    policies: PolicyTable
    models: list[str] = field(default_factory=list)
    problems: dict[str, str] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def look(self, engine: Engine, prefix: str) -> None:
        """Looks at an engine's models.

        Args:
            engine: Asked.
            prefix: Of the names under which it is noted.
        """
        try:
            names = list(await engine.models())
        except UnhitchError as error:
            self.problems[f"{prefix}engine"] = error.message
            return
        for name in names:
            self.models.append(prefix + name)
            try:
                customer = await engine.customer(name)
                await self._states(engine, customer, prefix + name)
            except UnhitchError as error:
                self.problems[prefix + name] = error.message

    def body(self) -> dict[str, Any]:
        """Ready for JSON."""
        status = "not ready" if self.problems else "ready"
        return {"status": status, "models": self.models, "problems": self.problems, "states": self.states}

    async def _states(self, engine: Engine, customer: Customer, name: str) -> None:
        try:
            self.states[name] = {"served": True, "fitting": fitting(await engine.states.learn(customer))}
        except UnhitchError as error:
            self.states[name] = {"served": False, "reason": error.message}
            if self.policies.need_states:
                raise
