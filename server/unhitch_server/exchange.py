"""One request on its way through the proxy, and the answer to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from starlette.types import Scope

from unhitch.errors import UnhitchError
from unhitch_server.access.credentials import upstream_headers
from unhitch_server.receipts import Stopwatch, receipt_headers
from unhitch_server.reply import Reply
from unhitch_server.routes.classes import RouteClass, classify
from unhitch_server.routes.table import errors_of
from unhitch_server.upstream.connection import OWN_PREFIX, Headers, forwardable
from unhitch_server.upstream.counters import Tally

_SET_ANEW = frozenset({b"host", b"content-length", b"expect"})


@dataclass(slots=True)
class Exchange:
    """What belongs to one request.

    Args:
        scope: ASGI's.
        reply: Where the answer goes.
        stopwatch: Started when the request came.
        body: The whole request body, once it is read.
        fields: Its members, where somebody had to look at them.
        own_credentials: Whether the client's key is ours, so that it must not travel upstream.
        tally: What is noted for the counters.
    """

    scope: Scope
    reply: Reply
    stopwatch: Stopwatch
    body: bytes = b""
    fields: dict[str, Any] | None = None
    own_credentials: bool = False
    tally: Tally = field(default_factory=Tally)

    @property
    def method(self) -> str:
        """The HTTP method."""
        return str(self.scope["method"])

    @property
    def path(self) -> str:
        """The path, percent-decoded, without the query."""
        return str(self.scope["path"])

    @property
    def kind(self) -> RouteClass:
        """What the route is to a policy that mitigates."""
        return classify(self.method, self.target.partition("?")[0])

    @property
    def target(self) -> str:
        """Path and query just as they came."""
        query = self.scope["query_string"]
        return str((self.scope["raw_path"] + (b"?" + query if query else b"")).decode("latin-1"))

    def headers_for(self, key: str | None) -> Headers:
        """The request's headers as they go upstream: without ours and those of the connection.

        Args:
            key: Of the engine; it takes the place of the client's, where that is ours.
        """
        headers = [
            (name, value)
            for name, value in forwardable(self.scope["headers"])
            if name.lower() not in _SET_ANEW and not name.lower().startswith(OWN_PREFIX)
        ]
        return upstream_headers(headers, key) if self.own_credentials else headers

    async def refuse(self, error: UnhitchError) -> None:
        """Answers with an error, as far as the client can still be told."""
        await self.reply.error(error, receipt_headers(self.stopwatch), errors_of(self.path))
