"""One request on its way through the proxy, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.types import Scope

from unhitch_server.receipts import Stopwatch
from unhitch_server.reply import Reply
from unhitch_server.upstream.connection import OWN_PREFIX, Headers, forwardable

_SET_ANEW = frozenset({b"host", b"content-length", b"expect"})


@dataclass(slots=True)
class Exchange:
    """What belongs to one request.

    Args:
        scope: ASGI's.
        reply: Where the answer goes.
        stopwatch: Started when the request came.
        body: The whole request body, once it is read.
    """

    scope: Scope
    reply: Reply
    stopwatch: Stopwatch
    body: bytes = b""

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path, percent-decoded, without the query."""
        return str(self.scope["path"])

    @property
    def target(self) -> str:
        """Path and query just as they came."""
        query = self.scope["query_string"]
        return str((self.scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1"))

    @property
    def headers(self) -> Headers:
        """The request's headers as they go upstream: without ours and those of the connection."""
        return [
            (key, value)
            for key, value in forwardable(self.scope["headers"])
            if key.lower() not in _SET_ANEW and not key.lower().startswith(OWN_PREFIX)
        ]
