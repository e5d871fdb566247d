"""The application: control routes of our own, and the proxy behind them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from unhitch.errors import UnhitchError
from unhitch.registry import Registry
from unhitch_server.best_of.scorer import Scorer, find_scorer
from unhitch_server.config import Config
from unhitch_server.control import explain, health, models, scorecards, strategies
from unhitch_server.engine import Engine, warm
from unhitch_server.gate import Gate
from unhitch_server.last_resort import LastResort
from unhitch_server.policy.table import PolicyTable
from unhitch_server.proxy import Proxy
from unhitch_server.states.customer import Customer
from unhitch_server.states.desk import fitting
from unhitch_server.upstream.replica import Replica

_log = logging.getLogger(__name__)


def create_app(config: Config) -> FastAPI:
    """The ASGI application.

    Raises:
        RegistryError: An allowed plug-in cannot be loaded.
        InvalidRequest: The default mitigation, a named policy or the scorer's settings do not validate.
        JudgeError: The scorer is not installed, or lacks a setting.
    """
    registry = Registry.load(config.allow_plugins)
    policies = PolicyTable(config, registry)
    replica = Replica(config)
    engine = replica.engine
    scorer = find_scorer(config)
    gate = Gate(config, registry)
    proxy = Proxy(config, policies, replica, gate, scorer)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with replica:
            probing = asyncio.gather(_probe(engine, policies, gate), _probe_scorer(scorer))
            yield
            probing.cancel()
            closing = [gate.close(), *([scorer.close()] if scorer is not None else [])]
            await asyncio.gather(probing, *closing, return_exceptions=True)

    app = FastAPI(
        title="unhitch",
        summary="Takes emergent misalignment off a finetuned model at inference time.",
        lifespan=lifespan,
        docs_url=None,  # these paths belong to the engine
        redoc_url=None,
        openapi_url="/unhitch/v1/openapi.json",
        redirect_slashes=False,
    )
    app.state.config, app.state.registry, app.state.policies = config, registry, policies
    app.state.engine, app.state.gate = engine, gate
    for part in (health, models, strategies, scorecards, explain):
        app.include_router(part.router)
    app.add_exception_handler(UnhitchError, _openai_error)
    app.add_middleware(LastResort)
    app.mount("/", proxy)
    return app


async def _openai_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnhitchError)  # noqa: S101 - registered for nothing else
    return JSONResponse(error.to_openai(), status_code=error.status)


async def _probe(engine: Engine, policies: PolicyTable, gate: Gate) -> None:
    """Finds out at start what stands in the way of mitigation, so that the log says it before a request does.

    Neighbours of the default prefix are looked up too: for a large vocabulary that takes seconds the first time.
    """
    try:
        for name in await engine.models():
            try:
                customer = await engine.customer(name)
                _log.info("%s can be mitigated: its rendering equals the engine's, and token ids are taken", name)
                await _probe_evidence(gate, customer, policies)
                await _probe_states(engine, customer, policies)
                await asyncio.to_thread(warm, customer.checkpoint)
            except UnhitchError as error:
                _log.warning("%s cannot be mitigated: %s", name, error.message)
    except UnhitchError as error:
        _log.warning("the engine could not be asked; it is asked again with the first request: %s", error.message)


async def _probe_evidence(gate: Gate, customer: Customer, policies: PolicyTable) -> None:
    """Finds out whether the operator's default is validated on a model, where that matters."""
    if gate.require == "no":
        return
    evidence = (await gate.inform(policies.default, customer)).evidence
    if evidence is not None and evidence.status != "passed":
        outcome = "is refused" if gate.require == "refuse" else "is marked so"
        _log.warning(
            "the default mitigation of %s is not validated and %s: %s", customer.name, outcome, evidence.sentence
        )


async def _probe_scorer(scorer: Scorer | None) -> None:
    """Finds out whether the scorer of `best-of` can rate."""
    if scorer is None:
        return
    try:
        await scorer.ready()
    except UnhitchError as error:
        _log.warning("%s (it is asked again with the next request for `best-of`)", error.message)


async def _probe_states(engine: Engine, customer: Customer, policies: PolicyTable) -> None:
    """Finds out whether states can be served to a model; that they cannot matters only where somebody needs them."""
    try:
        shelf = await engine.states.learn(customer)
        _log.info("%s can be served states: %d of %d are for it", customer.name, fitting(shelf), len(shelf.cards))
    except UnhitchError as error:
        level = logging.WARNING if policies.need_states else logging.INFO
        _log.log(level, "%s is served no states: %s", customer.name, error.message)
