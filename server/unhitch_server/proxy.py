"""The way of every request that is not the proxy's own: through untouched, mitigated, or refused."""

from __future__ import annotations

import asyncio

from starlette.types import Receive, Scope, Send

from unhitch import headers as wire
from unhitch.errors import EngineUnavailable, MitigationUnavailable, RouteNotFound, UnhitchError
from unhitch_server.best_of.scorer import Scorer
from unhitch_server.config import Config
from unhitch_server.exchange import Exchange
from unhitch_server.gate import Gate
from unhitch_server.mitigating import Mitigator
from unhitch_server.policy.table import PolicyTable
from unhitch_server.receipts import Stopwatch, receipt_headers
from unhitch_server.reply import Reply, read_body, until_gone
from unhitch_server.routes.table import ROUTES
from unhitch_server.states.guard import may_capture, refuse_capture, refuse_states_route
from unhitch_server.upstream.replica import Replica

OWN_ROUTES = ("/unhitch/", "/healthz", "/readyz")
"""Paths that are the proxy's; what it has no route for is not the engine's either."""

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that generate nothing on any route of vLLM, and so pass under every policy."""


class Proxy:
    """The ASGI application behind the proxy's own routes.

    Args:
        config: Limits.
        policies: Decides what a request gets.
        replica: The engine.
        gate: Lets requests through by the evidence for their strategies.
        scorer: Chooses between the answers to the draws of `best-of`; without it such requests are refused.
    """

    def __init__(
        self, config: Config, policies: PolicyTable, replica: Replica, gate: Gate, scorer: Scorer | None = None
    ) -> None:
        self._config = config
        self._policies = policies
        self._replica = replica
        self._mitigator = Mitigator(config, replica, gate, scorer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request; a client that leaves cancels what the engine does for it."""
        if scope["type"] == "websocket":  # vLLM's realtime route; no edit could be made there
            await send({"type": "websocket.close", "code": 1003, "reason": "unhitch proxies HTTP only"})
            return
        exchange = Exchange(scope, Reply(send), Stopwatch())
        try:
            exchange.body = await read_body(receive, scope["headers"], self._config.max_body_bytes)
            await until_gone(self._serve(exchange), receive)
        except UnhitchError as error:
            if isinstance(error, EngineUnavailable):
                self._replica.engine.forget()
            await exchange.reply.error(error, receipt_headers(exchange.stopwatch))

    async def _serve(self, exchange: Exchange) -> None:
        if exchange.path.startswith(OWN_ROUTES):
            raise RouteNotFound(
                f"the proxy has no route {exchange.method} {exchange.path}; /unhitch/v1/openapi.json lists those it has"
            )
        refuse_states_route(exchange.scope["raw_path"])
        decision = self._policies.decide(exchange.scope["headers"])
        route = ROUTES.get(exchange.path) if exchange.method == "POST" else None
        if decision.off or exchange.method in READ_METHODS:
            await self._pass(exchange)
        elif route is not None:
            await self._mitigator.serve(exchange, decision, route)
        else:
            raise MitigationUnavailable(
                f"the request's mitigation cannot be made on {exchange.method} {exchange.path}, only on POST "
                f"{', '.join(ROUTES)}. Nothing was generated. Use such a route, or send `{wire.MITIGATION}: off`.",
                param=wire.MITIGATION,
            )

    async def _pass(self, exchange: Exchange) -> None:
        """Forwards the bytes as they came, both ways."""
        if may_capture(exchange.body):
            await asyncio.to_thread(refuse_capture, exchange.body)
        send = self._replica.connection.request
        async with send(
            exchange.method, exchange.target, exchange.headers, exchange.body or None, exchange.stopwatch
        ) as answer:
            await exchange.reply.start(answer.status, answer.headers + receipt_headers(exchange.stopwatch))
            async for chunk in answer.chunks():
                await exchange.reply.write(chunk)
            await exchange.reply.end()
