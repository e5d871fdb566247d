"""What holds for every answer, whatever happens behind it."""

from __future__ import annotations

import logging

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unhitch import headers as wire
from unhitch.errors import UnhitchError
from unhitch_server.reply import ClientGone, Reply
from unhitch_server.routes.table import errors_of

_log = logging.getLogger(__name__)


class LastResort:
    """ASGI middleware around all: an answer that does not say what was applied says that nothing was.

    An unforeseen exception becomes an OpenAI error object as well, as long as no answer has begun.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        started = False

        async def marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", ()))
                if not any(key.lower() == _APPLIED for key, _ in headers):
                    message = {**message, "headers": [*headers, (_APPLIED, b"off")]}
            await send(message)

        try:
            await self._app(scope, receive, marked)
        except ClientGone:
            _log.info("the client left before the end of its answer")
        except Exception:
            if started or scope["type"] != "http":
                raise
            _log.exception("an unforeseen error")
            error = UnhitchError("an unforeseen error in the proxy; its log has the details. Please report it.")
            await Reply(marked).error(error, [], errors_of(scope["path"]))


_APPLIED = wire.APPLIED.lower().encode("latin-1")
