"""The end of the proxy's service: it says that it is not ready, lets requests end, and at last breaks them off."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unhitch.errors import UnhitchError
from unhitch_server.reply import Reply
from unhitch_server.routes.table import errors_of


class ProxyStopping(UnhitchError):
    """The proxy was asked to stop, and the request did not end in the time that it then had."""

    status = 503
    code = "proxy_stopping"


class Draining:
    """ASGI middleware around all: knows the requests under way, and can end them.

    Args:
        app: Serves them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self._tasks: set[asyncio.Task[Any]] = set()
        self._over = False
        self.begun = False
        """Whether the proxy was asked to stop."""

    @property
    def under_way(self) -> int:
        """How many requests have not ended."""
        return len(self._tasks)

    def begin(self) -> None:
        """Has /readyz say 503, so that new requests are sent elsewhere; those that come are served all the same."""
        self.begun = True

    def break_off(self) -> None:
        """Ends all requests under way; each client is told as far as it still can be."""
        self.begun = self._over = True
        for task in self._tasks:
            task.cancel()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        if self.begun and scope["path"] == "/readyz":
            await _not_ready(Reply(send))
            return
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - all of ASGI runs in tasks
        self._tasks.add(task)
        reply = Reply(send)

        async def noted(message: Message) -> None:
            if message["type"] == "http.response.start":
                await reply.start(message["status"], list(message.get("headers", ())))
            else:
                await send(message)

        try:
            await self.app(scope, receive, noted)
        except asyncio.CancelledError:
            if not self._over:
                raise
            task.uncancel()
            stopping = ProxyStopping("the proxy is stopping, and the request did not end in time; send it again")
            await reply.error(stopping, [(b"unhitch-applied", b"off")], errors_of(scope["path"]))
        finally:
            self._tasks.discard(task)


async def _not_ready(reply: Reply) -> None:
    body = {"status": "draining", "models": [], "problems": {"proxy": "it was asked to stop"}, "states": {}}
    headers = [(b"content-type", b"application/json"), (b"unhitch-applied", b"off"), (b"connection", b"close")]
    await reply.whole(503, headers, json.dumps(body).encode())
