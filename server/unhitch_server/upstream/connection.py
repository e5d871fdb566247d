"""The connection to the engine: requests out, raw answers back, faults translated.

aiohttp rather than httpx on this path: it costs a tenth of the processor time per request, and its pool does not lose
slots when a request is cancelled under load.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
from yarl import URL

from unhitch.errors import EngineError, EngineTimeout, EngineUnavailable, HeaderError
from unhitch.states.patch import CONNECTOR_HEADER
from unhitch_server.config import Config

Headers = list[tuple[bytes, bytes]]

OWN_PREFIX = b"unhitch-"
"""What the names of all headers of ours begin with, in lower case; none travels upstream, and none comes from there."""

_KEEP_ALIVE_SECONDS = 2.0  # vLLM closes idle connections after five, and a busy one is late to notice a request
_STALE_CONNECTIONS = 3
_LONGEST_HEADER = 65536
_NOT_MODIFIED = 304
_DECODED_AT_ONCE = 65536

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers that belong to one connection and are never forwarded (RFC 9110, 7.6.1)."""


def forwardable(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers without those of one connection: the fixed ones and what a Connection header names."""
    listed = list(headers)
    named = {
        name.strip().lower() for key, value in listed if key.lower() == b"connection" for name in value.split(b",")
    }
    return [(key, value) for key, value in listed if key.lower() not in HOP_BY_HOP | named]


class Answer:
    """An answer of the engine whose body has not been read yet."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.connector = response.headers.get(CONNECTOR_HEADER)
        """The version of the protocol for states that the engine's connector speaks, if it has one."""
        self.request_id = response.headers.get("X-Request-Id")
        """What the engine calls the request, where it says so."""
        self.headers: Headers = [
            (key, value)
            for key, value in forwardable(response.raw_headers)
            if not key.lower().startswith(OWN_PREFIX)
            # A 304 gives the length of what it does not hold.
            and not (response.status == _NOT_MODIFIED and key.lower() == b"content-length")
        ]
        self.content_type = response.content_type

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes.

        Raises:
            EngineError: The connection broke before the end.
        """
        with _translated("while its answer was read"):
            async for chunk in self._response.content.iter_any():
                yield chunk

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            EngineError: The connection broke before the end.
        """
        with _translated("while its answer was read"):
            return await self._response.read()


@dataclass(frozen=True, slots=True)
class Told:
    """The engine's answer to a question of the proxy's own.

    Args:
        status: HTTP status.
        body: Decoded JSON; None where the body is no JSON.
        connector: As in `Answer`.
    """

    status: int
    body: Any
    connector: str | None


class Upstream:
    """One engine. Use as an async context manager; safe for any number of requests at once."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstream:
        config = self._config
        self._session = aiohttp.ClientSession(
            # The engine queues; a limit here would hide that.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=config.connect_timeout_seconds),
            auto_decompress=False,
            trace_configs=[_reuse_noted()],
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent", "Content-Type"),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None,
        stopwatch: AbstractContextManager[None] = nullcontext(),  # noqa: B008 - it keeps no state
    ) -> AsyncIterator[Answer]:
        """Sends a request; leaving the block early closes the connection, which makes the engine abort.

        Args:
            method: HTTP method.
            target: Path and query exactly as they go on the wire.
            headers: As they go on the wire, without Host and Content-Length.
            body: The body, or None for none.
            stopwatch: Entered while the engine is waited for.

        Raises:
            EngineUnavailable: No connection, or it broke before an answer.
            EngineTimeout: No connection in `connect_timeout_seconds`.
        """
        if self._session is None:
            raise RuntimeError("the upstream is used outside its context")
        url = URL(self._config.upstream + target, encoded=True)
        decoded = [(key.decode("latin-1"), _text(key, value)) for key, value in headers]
        with _translated("before it answered"), stopwatch:
            response = await self._response(self._session, method, url, decoded, body)
        try:
            yield Answer(response)
        finally:
            # At its end a body has already given its connection back; before it, closing tells the engine to stop.
            response.close()

    @staticmethod
    async def _response(
        session: aiohttp.ClientSession, method: str, url: URL, headers: list[tuple[str, str]], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """Sends again what met a kept connection that the engine was just closing: it has not seen the request."""
        for _ in range(_STALE_CONNECTIONS):
            use = SimpleNamespace(reused=False)
            try:
                return await session.request(
                    method, url, headers=headers, data=body, allow_redirects=False, trace_request_ctx=use
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not use.reused:
                    raise
        raise aiohttp.ServerDisconnectedError

    async def ask(self, method: str, target: str, body: object = None, *, patient: bool = False) -> tuple[int, Any]:
        """A request of the proxy's own: status and decoded JSON (None where the body is no JSON).

        Args:
            method: HTTP method.
            target: Path and query.
            body: Sent as JSON, if it is not None.
            patient: Whether to wait for an answer for as long as the connection lasts.

        Raises:
            EngineUnavailable: No connection, or it broke.
            EngineTimeout: No answer in `probe_timeout_seconds`.
        """
        told = await self.query(method, target, body, patient=patient)
        return told.status, told.body

    async def query(self, method: str, target: str, body: object = None, *, patient: bool = False) -> Told:
        """The same, for the same arguments, with what the engine says of its connector.

        Raises:
            EngineUnavailable: No connection, or it broke.
            EngineTimeout: No answer in `probe_timeout_seconds`.
        """
        headers: Headers = [(b"accept", b"application/json")]
        if self._config.upstream_api_key:
            headers.append((b"authorization", f"Bearer {self._config.upstream_api_key}".encode()))
        payload = None
        if body is not None:
            payload = json.dumps(body).encode()
            headers.append((b"content-type", b"application/json"))
        with _translated("before it answered"):
            async with (
                asyncio.timeout(None if patient else self._config.probe_timeout_seconds),
                self.request(method, target, headers, payload) as answer,
            ):
                raw = await answer.read()
        # The list of a thousand states has megabytes, and other requests must not stand still meanwhile.
        decoded = _decoded(raw) if len(raw) <= _DECODED_AT_ONCE else await asyncio.to_thread(_decoded, raw)
        return Told(answer.status, decoded, answer.connector)


def _reuse_noted() -> aiohttp.TraceConfig:
    """Has each request's context say whether it went out on a connection that was kept from an earlier one."""

    async def note(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
        context.trace_request_ctx.reused = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return trace


def _decoded(raw: bytes) -> Any:
    """Decoded JSON; None where it is none."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        return None


def _text(key: bytes, value: bytes) -> str:
    """A header's value as aiohttp takes it: it writes UTF-8, so that is what bytes must be to arrive as they came."""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        name = key.decode("latin-1")
        raise HeaderError(f"the header {name} is no UTF-8 and cannot be forwarded as it came", param=name) from error


@contextmanager
def _translated(when: str) -> Iterator[None]:
    """The one place where faults of the transport become errors of ours."""
    try:
        yield
    except (aiohttp.ServerTimeoutError, TimeoutError) as error:
        raise EngineTimeout(
            f"the engine did not answer in time ({when}). Is it overloaded or still starting?"
        ) from error
    except aiohttp.ClientConnectorError as error:
        raise EngineUnavailable(
            f"no connection to the engine at {error.host}:{error.port}: {error.os_error.strerror or error}. "
            "Is vLLM running there, and is the upstream URL right?"
        ) from error
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError, aiohttp.InvalidURL) as error:
        raise EngineError(f"the engine's connection broke {when}: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineUnavailable(f"the connection to the engine broke {when}: {error}") from error
