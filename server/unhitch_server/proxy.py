"""The way of every request that is not the proxy's own: through untouched, mitigated, or refused."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import posixpath
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

from starlette.types import Receive, Scope, Send

from unhitch import headers as wire
from unhitch.errors import MitigationUnavailable, RouteNotFound, UnhitchError, UnrecognisedPrompt
from unhitch_server import model_list
from unhitch_server.access.cache_salt import salted
from unhitch_server.access.caller import ANYONE, Caller
from unhitch_server.access.doorkeeper import Doorkeeper
from unhitch_server.aside.asking import Collected
from unhitch_server.aside.shadow import Shadows
from unhitch_server.best_of.scorer import Scorer
from unhitch_server.config import Config
from unhitch_server.deciding import decide
from unhitch_server.exchange import Exchange
from unhitch_server.gate import Gate
from unhitch_server.mitigating import Mitigator
from unhitch_server.policy.decision import Decision
from unhitch_server.policy.reload import Policies
from unhitch_server.receipts import FAILED_OPEN, Stopwatch, receipt_headers
from unhitch_server.reply import Reply, read_body, until_gone, without
from unhitch_server.routes.classes import READ_METHODS
from unhitch_server.routes.table import ROUTES
from unhitch_server.states.guard import may_capture, refuse_capture, refuse_states_route
from unhitch_server.upstream.connection import Headers
from unhitch_server.upstream.counters import Counters
from unhitch_server.upstream.fleet import Fleet
from unhitch_server.upstream.replica import Replica

OWN_ROUTES = ("/unhitch/", "/healthz", "/readyz")
"""Paths that are the proxy's; what it has no route for is not the engine's either."""

_log = logging.getLogger(__name__)


Attempt = Callable[[Replica], Awaitable[None]]


class Proxy:
    """The ASGI application behind the proxy's own routes.

    Args:
        config: Limits.
        policies: Decide what a request gets.
        fleets: The engines, by the name of the upstream.
        gate: Lets requests through by the evidence for their strategies.
        door: Lets callers in.
        scorer: Chooses between the answers to the draws of `best-of`; without it such requests are refused.
        shadows: Asks a share of the requests again; None where no file is named for that.
    """

    def __init__(
        self,
        config: Config,
        policies: Policies,
        fleets: Mapping[str, Fleet],
        gate: Gate,
        door: Doorkeeper,
        scorer: Scorer | None = None,
        shadows: Shadows | None = None,
    ) -> None:
        self.counters = Counters()
        self._config = config
        self._policies = policies
        self._fleets = fleets
        self._door = door
        self._shadows = shadows
        self._gate = gate
        self._scorer = scorer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; a client that leaves cancels what the engine does for it."""
        if scope["type"] == "websocket":  # vLLM's realtime route; no edit could be made there
            await send({"type": "websocket.close", "code": 1003, "reason": "unhitch proxies HTTP only"})
            return
        exchange = Exchange(scope, Reply(send), Stopwatch(), own_credentials=self._door.ours(scope["headers"]))
        with self.counters.counted(exchange.reply) as exchange.tally:
            try:
                async with self._door.admit(scope) as caller:
                    exchange.body = await read_body(receive, scope["headers"], self._config.max_body_bytes)
                    await until_gone(self._admitted(exchange, caller), receive)
            except UnhitchError as error:
                await exchange.refuse(error)

    async def serve_unnamed(self, exchange: Exchange) -> None:
        """Serves a request, its body read, as that of a caller without a key.

        Raises:
            UnhitchError: It cannot be served.
        """
        await self._admitted(exchange, ANYONE)

    async def serve(self, exchange: Exchange, decision: Decision) -> None:
        """Serves a request under a decision.

        Args:
            exchange: The request, its body read.
            decision: What it gets.

        Raises:
            UnhitchError: It cannot be served so; no byte of an answer was sent that says otherwise.
        """
        kind = exchange.kind
        if decision.off or kind == "passes":
            await self._dispatch(exchange, decision, partial(self._pass, exchange, []))
        elif kind == "mitigated":
            exchange.tally.mitigating = True
            await self._mitigated(exchange, decision)
        else:
            raise MitigationUnavailable(
                f"the request's mitigation cannot be made on {exchange.method} {exchange.path}, only on POST "
                f"{', '.join(ROUTES)}. Nothing was generated. Use such a route, or send `{wire.MITIGATION}: off`.",
                param=wire.MITIGATION,
            )

    async def _admitted(self, exchange: Exchange, caller: Caller) -> None:
        if exchange.path.startswith(OWN_ROUTES):
            raise RouteNotFound(
                f"the proxy has no route {exchange.method} {exchange.path}; /unhitch/v1/openapi.json lists those it has"
            )
        refuse_states_route(exchange.scope["raw_path"])
        if exchange.method == "GET" and exchange.path == model_list.PATH:
            await self._list_models(exchange, caller)
            return
        decision = await self._decide(exchange, caller)
        if self._config.separate_caches and caller.identity and exchange.kind == "mitigated":
            exchange.body = await asyncio.to_thread(salted, exchange.body, caller.identity)
            exchange.fields = None
        if decision.shadow is None or self._shadows is None or exchange.method in READ_METHODS:
            await self.serve(exchange, decision)
            return
        collected = Collected()
        exchange.reply.watch(collected.to)
        await self.serve(exchange, decision)
        shadow = dataclasses.replace(decision, steps=decision.shadow, shadow=None, fail_open=False)
        self._shadows.follow(exchange, collected, partial(self.serve, decision=shadow))

    async def _list_models(self, exchange: Exchange, caller: Caller) -> None:
        """The engine's own bytes, unless there are aliases, or models that the caller's key is not for."""
        table = self._policies.current
        decision = table.decide(exchange.scope["headers"], key=caller.name, route=exchange.path, generates=False)
        if caller.any_model and not table.aliases:
            await self._dispatch(exchange, decision, partial(self._pass, exchange, []))
            return
        aliases = {name: alias.model for name, alias in table.aliases.items()}

        async def attempt(replica: Replica) -> None:
            headers = without(exchange.headers_for(replica.connection.key), b"accept-encoding")
            send = replica.connection.request
            async with send("GET", exchange.target, headers, None, exchange.stopwatch) as answer:
                receipt = receipt_headers(exchange.stopwatch)
                await answer.require_served(receipt)
                body = model_list.listed(await answer.read(), aliases, caller.may_use)
                await exchange.reply.whole(answer.status, answer.headers + receipt, body)

        await self._dispatch(exchange, decision, attempt)

    async def _decide(self, exchange: Exchange, caller: Caller) -> Decision:
        table, method, path = self._policies.current, exchange.method, exchange.path
        usual = "/" + posixpath.normpath(path).lstrip("/")
        if method not in READ_METHODS and table.mitigates and usual != path:
            # A gateway before the engine may read such a path otherwise than the rules here do.
            raise RouteNotFound(f"{path!r} is not written as routes are; did you mean {usual!r}?")
        decision, exchange.body, exchange.fields = await decide(
            table,
            caller,
            exchange.scope["headers"],
            exchange.body,
            method=method,
            route=path,
            generates=exchange.kind != "passes",
        )
        return decision

    async def _mitigated(self, exchange: Exchange, decision: Decision) -> None:
        route = ROUTES[exchange.path]

        async def attempt(replica: Replica) -> None:
            await Mitigator(self._config, replica, self._gate, self._scorer).serve(exchange, decision, route)

        try:
            await self._dispatch(exchange, decision, attempt)
        except MitigationUnavailable as error:
            raw = isinstance(error, UnrecognisedPrompt) and decision.unrecognised == "pass"
            if exchange.reply.started or not (decision.fail_open or raw):
                raise
            exchange.tally.mitigating = False
            self.counters.failed_open += 1
            _log.warning("policy %s let a request through unmitigated: %s", decision.policy, error.code)
            note = [(FAILED_OPEN, error.code.encode("latin-1"))]
            await self._dispatch(exchange, decision, partial(self._pass, exchange, note))

    async def _dispatch(self, exchange: Exchange, decision: Decision, attempt: Attempt) -> None:
        await self._fleets[decision.upstream].serve(decision.session, attempt, lambda: exchange.reply.started)

    async def _pass(self, exchange: Exchange, note: Headers, replica: Replica) -> None:
        """Forwards the bytes as they came, both ways."""
        if may_capture(exchange.body):
            await asyncio.to_thread(refuse_capture, exchange.body)
        send = replica.connection.request
        headers, body = exchange.headers_for(replica.connection.key), exchange.body or None
        async with send(exchange.method, exchange.target, headers, body, exchange.stopwatch) as answer:
            receipt = receipt_headers(exchange.stopwatch) + note
            await answer.require_served(receipt)
            await exchange.reply.start(answer.status, answer.headers + receipt)
            async for chunk in answer.chunks():
                await exchange.reply.write(chunk)
            await exchange.reply.end()
