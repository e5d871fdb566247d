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
from unhitch_server.config import Config
from unhitch_server.control import explain, health, strategies
from unhitch_server.engine import Engine, warm
from unhitch_server.last_resort import LastResort
from unhitch_server.policy import PolicyTable
from unhitch_server.proxy import Proxy
from unhitch_server.states.customer import Customer
from unhitch_server.states.desk import fitting
from unhitch_server.upstream import Upstream

_log = logging.getLogger(__name__)


def create_app(config: Config) -> FastAPI:
    """The ASGI application.

    Raises:
        RegistryError: An allowed plug-in cannot be loaded.
        InvalidRequest: The default mitigation or a named policy does not validate.
    """
    registry = Registry.load(config.allow_plugins)
    policies = PolicyTable(config, registry)
    upstream = Upstream(config)
    engine = Engine(config, upstream)
    proxy = Proxy(config, policies, engine, upstream)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with upstream:
            probing = asyncio.create_task(_probe(engine, policies))
            yield
            probing.cancel()
            await asyncio.gather(probing, proxy.close(), engine.states.close(), return_exceptions=True)

    app = FastAPI(
        title="unhitch",
        summary="Takes emergent misalignment off a finetuned model at inference time.",
        lifespan=lifespan,
        docs_url=None,  # these paths belong to the engine
        redoc_url=None,
        openapi_url="/unhitch/v1/openapi.json",
        redirect_slashes=False,
    )
    app.state.config, app.state.registry, app.state.policies, app.state.engine = config, registry, policies, engine
    for part in (health, strategies, explain):
        app.include_router(part.router)
    app.add_exception_handler(UnhitchError, _openai_error)
    app.add_middleware(LastResort)
    app.mount("/", proxy)
    return app


async def _openai_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnhitchError)  # noqa: S101 - registered for nothing else
    return JSONResponse(error.to_openai(), status_code=error.status)


async def _probe(engine: Engine, policies: PolicyTable) -> None:
    """Finds out at start what stands in the way of mitigation, so that the log says it before a request does.

    Neighbours of the default prefix are looked up too: for a large vocabulary that takes seconds the first time.
    """
    try:
        for name in await engine.models():
            try:
                customer = await engine.customer(name)
                _log.info("%s can be mitigated: its rendering equals the engine's, and token ids are taken", name)
                await _probe_states(engine, customer, policies)
                await asyncio.to_thread(warm, customer.checkpoint)
            except UnhitchError as error:
                _log.warning("%s cannot be mitigated: %s", name, error.message)
    except UnhitchError as error:
        _log.warning("the engine could not be asked; it is asked again with the first request: %s", error.message)


async def _probe_states(engine: Engine, customer: Customer, policies: PolicyTable) -> None:
    """Finds out whether states can be served to a model; that they cannot matters only where somebody needs them."""
    try:
        shelf = await engine.states.learn(customer)
        _log.info("%s can be served states: %d of %d are for it", customer.name, fitting(shelf), len(shelf.cards))
    except UnhitchError as error:
        level = logging.WARNING if policies.need_states else logging.INFO
        _log.log(level, "%s is served no states: %s", customer.name, error.message)
