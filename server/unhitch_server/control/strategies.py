"""`/unhitch/v1/strategies`: what the registry holds, with the parameters' JSON schemas."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request

from unhitch.registry import Registry

router = APIRouter()


@router.get("/unhitch/v1/strategies")
async def strategies(request: Request) -> dict[str, Any]:
    """Every strategy in the registry's order: name, version, summary, source, schema of its parameters."""
    registry: Registry = request.app.state.registry
    return {
        "object": "list",
        "data": [
            {
                "name": strategy.name,
                "version": strategy.version,
                "summary": strategy.summary,
                "source": strategy.source,
                "parameters": registry.schema(strategy.name),
            }
            for strategy in registry
        ],
        "installed_but_not_allowed": registry.installed_but_not_allowed(),
    }
