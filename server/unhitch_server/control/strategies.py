"""`/unhitch/v1/strategies`: what the registry holds, with the parameters' JSON schemas and the evidence there is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from unhitch.errors import UnhitchError
from unhitch.evidence.standing import Evidence
from unhitch.registry import Registry
from unhitch_server.control.refusals import CONTROL_KEY, refusals
from unhitch_server.engine import Engine
from unhitch_server.gate import Gate

router = APIRouter()


@router.get("/unhitch/v1/strategies", responses=refusals(*CONTROL_KEY))
async def strategies(request: Request) -> dict[str, Any]:
    """Every strategy in the registry's order: name, version, summary, source, schema of its parameters, evidence.

    `evidence` has, for each served model by its name, what is known of the strategy on it: one entry for each set of
    parameters, and combination with other strategies, that a scorecard was made for. Where the engine cannot be asked
    it is null.
    """
    registry: Registry = request.app.state.registry
    by_model = await _evidence(request.app.state.main.engine, request.app.state.gate)
    return {
        "object": "list",
        "data": [
            {
                "name": strategy.name,
                "version": strategy.version,
                "summary": strategy.summary,
                "source": strategy.source,
                "parameters": registry.schema(strategy.name),
                "evidence": None if by_model is None else _of(strategy.name, by_model),
            }
            for strategy in registry
        ],
        "installed_but_not_allowed": registry.installed_but_not_allowed(),
    }


async def _evidence(engine: Engine, gate: Gate) -> dict[str, tuple[Evidence, ...]] | None:
    """What scorecards say, for each served model."""
    found: dict[str, tuple[Evidence, ...]] = {}
    try:
        names = list(await engine.models())
    except UnhitchError:
        return None
    for name in names:
        try:
            view = await gate.view(await engine.customer(name))
        except UnhitchError:
            found[name] = ()  # /unhitch/v1/models says why
        else:
            found[name] = view.all_evidence()
    return found


def _of(strategy: str, by_model: dict[str, tuple[Evidence, ...]]) -> dict[str, list[dict[str, Any]]]:
    return {
        model: [_described(each) for each in known if each.scorecard and strategy in each.scorecard.names]
        for model, known in by_model.items()
    }


def _described(evidence: Evidence) -> dict[str, Any]:
    assert evidence.scorecard is not None  # noqa: S101 - `_of` has seen to it
    card = evidence.scorecard.card
    return {
        "status": evidence.status,
        "mitigation": card.strategy.mitigation,
        "good": card.arms[1].good.model_dump(mode="json"),
        "scorecard": evidence.scorecard.digest,
        "changed": list(evidence.changed),
    }
