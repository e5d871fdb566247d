"""The application: control routes of our own, and the proxy behind them."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.responses import Response

from unhitch.errors import InvalidRequest, RouteNotFound, UnhitchError
from unhitch.registry import Registry
from unhitch_server.access.control import ControlGuard
from unhitch_server.access.doorkeeper import Doorkeeper
from unhitch_server.aside.canary import watches_of
from unhitch_server.aside.shadow import ShadowFile, Shadows
from unhitch_server.best_of.scorer import Scorer, find_scorer
from unhitch_server.config import Config
from unhitch_server.control import explain, health, models, operation, scorecards, strategies
from unhitch_server.engine import Engine, warm
from unhitch_server.gate import Gate
from unhitch_server.last_resort import LastResort
from unhitch_server.policy.document import Document
from unhitch_server.policy.reload import Policies
from unhitch_server.policy.table import PolicyTable
from unhitch_server.proxy import Proxy
from unhitch_server.routes.table import errors_of
from unhitch_server.states.customer import Customer
from unhitch_server.states.desk import fitting
from unhitch_server.upstream.building import fleets_of

_log = logging.getLogger(__name__)


def create_app(config: Config) -> FastAPI:
    """The ASGI application.

    Raises:
        RegistryError: An allowed plug-in cannot be loaded.
        InvalidRequest: The default mitigation, a named policy or the scorer's settings do not validate.
        JudgeError: The scorer is not installed, or lacks a setting.
    """
    registry = Registry.load(config.allow_plugins)
    policies = policies_of(config, registry)
    fleets = fleets_of(policies.current.document, config, os.environ)
    main = fleets[policies.current.document.main_upstream]
    scorer = find_scorer(config)
    gate = Gate(config, registry, scorer)
    door = Doorkeeper(config.key_file, config.control_key, most_at_once=config.most_at_once)
    shadows = None if config.shadow_file is None else Shadows(ShadowFile(config.shadow_file))
    proxy = Proxy(config, policies, fleets, gate, door, scorer, shadows)

    watches = watches_of(policies.current.document, proxy.serve_unnamed, os.environ)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for each in fleets.values():
                await stack.enter_async_context(each)
            await stack.enter_async_context(policies)
            stack.enter_context(_reread_on_hangup(policies))
            probing = asyncio.gather(_probe(main.engine, policies.current, gate), _probe_scorer(scorer))
            canaries = [asyncio.create_task(each.repeat()) for each in watches.values()]
            yield
            probing.cancel()
            for canary in canaries:
                canary.cancel()
            closing = [each.close() for each in (gate, scorer, shadows) if each is not None]
            await asyncio.gather(probing, *canaries, *closing, return_exceptions=True)

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
    app.state.main, app.state.gate, app.state.fleets = main, gate, fleets
    app.state.counters, app.state.shadows, app.state.watches = proxy.counters, shadows, watches
    for part in (health, models, strategies, scorecards, explain, operation):
        app.include_router(part.router)
    app.add_exception_handler(UnhitchError, _openai_error)
    app.add_exception_handler(HTTPException, _no_route)
    app.add_middleware(ControlGuard, control_key=door.control_key, client_keys=door.client_keys)
    app.add_middleware(LastResort)
    app.mount("/", proxy)
    return app


@contextmanager
def _reread_on_hangup(policies: Policies) -> Iterator[None]:
    """Has SIGHUP read the policy file again, where signals can be had: in the main thread, not on Windows."""
    loop = asyncio.get_running_loop()
    try:
        loop.add_signal_handler(signal.SIGHUP, lambda: loop.run_in_executor(None, policies.reload))
    except (NotImplementedError, RuntimeError, ValueError, AttributeError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGHUP)


def policies_of(config: Config, registry: Registry) -> Policies:
    """The policies that the settings name, or that the file does.

    Raises:
        InvalidRequest: Both do, or no engine is named.
        InvalidPolicy: They cannot be used.
    """
    settings = {"upstream": config.upstream, "mitigation": config.mitigation, "policies": config.policies}
    if config.policy_file is None:
        if not config.upstream:
            raise InvalidRequest("no engine is named: give --upstream URL, or a policy file with `upstreams`")
        document = Document.of_settings(**settings, require_validated=config.require_validated)  # type: ignore[arg-type]
        return Policies(PolicyTable(document, registry))
    if config.mitigation != "off" or config.policies or config.require_validated != "no":
        raise InvalidRequest(
            f"{config.policy_file} holds the policies, so --mitigation, --policy and --require-validated cannot be "
            "given beside it; write them there"
        )
    return Policies.of_file(config.policy_file, registry, upstream=config.upstream or None, environ=os.environ)


async def _openai_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, UnhitchError)  # noqa: S101 - registered for nothing else
    return JSONResponse(
        error.to_openai(), status_code=error.status, headers={k.decode(): v.decode() for k, v in error.headers}
    )


async def _no_route(request: Request, error: Exception) -> Response:
    """What the framework itself has no route for: paths that cannot be the engine's, and methods of control routes."""
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
    path = request.scope["path"]
    told = RouteNotFound(
        f"there is no route {request.method} {path!r}; paths begin with a slash and hold no line ends, and "
        "/unhitch/v1/openapi.json lists the proxy's own"
    )
    return Response(errors_of(path).error_body(told), error.status_code, error.headers, "application/json")


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
    if (require := policies.default.require) == "no":
        return
    evidence = (await gate.inform(policies.default, customer)).evidence
    if evidence is not None and evidence.status != "passed":
        outcome = "is refused" if require == "refuse" else "is marked so"
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
