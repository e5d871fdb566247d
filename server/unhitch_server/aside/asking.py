"""Asking through the proxy itself, and collecting what it answers."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from starlette.types import Message, Scope, Send

from unhitch.errors import UnhitchError
from unhitch_server.exchange import Exchange
from unhitch_server.receipts import Stopwatch
from unhitch_server.reply import Reply

MOST_KEPT_BYTES = 2**20
"""Of an answer; what comes behind is counted and not kept."""

Serve = Callable[[Exchange], Awaitable[None]]
"""Serves a request under a decision that was made for it."""


class Collected:
    """An answer on its way to a client, or to nobody, as far as it is kept."""

    def __init__(self) -> None:
        self.status = 0
        """0 until it has begun."""
        self.headers: dict[str, str] = {}
        self.body = bytearray()
        self.size = 0
        """Bytes of the whole body so far."""
        self.complete = False

    def to(self, send: Send | None = None) -> Send:
        """What takes an answer's messages for this, and hands them on.

        Args:
            send: ASGI's; None where nobody else is to get them.
        """

        async def take(message: Message) -> None:
            if send is not None:
                await send(message)
            if message["type"] == "http.response.start":
                self.status = message["status"]
                pairs = message.get("headers", ())
                self.headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in pairs}
            else:
                chunk = message.get("body", b"")
                self.size += len(chunk)
                self.body += chunk[: MOST_KEPT_BYTES - len(self.body)]
                self.complete = not message.get("more_body", False)

        return take


async def ask_again(exchange: Exchange, serve: Serve) -> Collected:
    """Serves the same request once more, for nobody.

    Args:
        exchange: The request, its body read.
        serve: How.
    """
    return await _ask(exchange.scope, exchange.body, serve, own_credentials=exchange.own_credentials)


async def ask_chat(body: Mapping[str, Any], serve: Serve) -> Collected:
    """Serves a chat completion of the proxy's own.

    Args:
        body: To be sent as JSON.
        serve: How.
    """
    scope: Scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/chat/completions",
        "raw_path": b"/v1/chat/completions",
        "query_string": b"",
        "headers": [(b"content-type", b"application/json")],
    }
    return await _ask(scope, json.dumps(body).encode("utf-8"), serve, own_credentials=True)


async def _ask(scope: Scope, body: bytes, serve: Serve, *, own_credentials: bool) -> Collected:
    collected = Collected()
    exchange = Exchange(scope, Reply(collected.to()), Stopwatch(), body, own_credentials=own_credentials)
    try:
        await serve(exchange)
    except UnhitchError as error:
        await exchange.refuse(error)
    return collected
