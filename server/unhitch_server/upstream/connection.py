"""The connection to the engine: requests out, raw answers back, faults translated.

aiohttp rather than httpx on this path: it costs a tenth of the processor time per request, and its pool does not lose
slots when a request is cancelled under load.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
from aiohttp.connector import Connection
from yarl import URL

from unhitch.errors import EngineError, EngineTimeout, HeaderError
from unhitch_server.config import Config
from unhitch_server.upstream.answer import HOP_BY_HOP, OWN_PREFIX, Answer, Headers, forwardable, nothing_came
from unhitch_server.upstream.breaker import Breaker
from unhitch_server.upstream.faults import BROKEN, translated
from unhitch_server.upstream.timeouts import Timeouts

__all__ = ["HOP_BY_HOP", "OWN_PREFIX", "Answer", "Headers", "Told", "Upstream", "forwardable"]

_KEEP_ALIVE_SECONDS = 2.0  # vLLM closes idle connections after five, and a busy one is late to notice a request
_STALE_CONNECTIONS = 3
_STALE_SECONDS = 1.0  # what breaks later than that was at work on the request
_LONGEST_HEADER = 65536
_FAULT = 500
_DECODED_AT_ONCE = 65536


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
    """One engine. Use as an async context manager; safe for any number of requests at once.

    Args:
        config: Gives the URL, and the key for questions of the proxy's own.
        timeouts: Longest waits; without them the usual ones, and the config's for a connection.
        breaker: Told what becomes of every request.
    """

    def __init__(self, config: Config, timeouts: Timeouts | None = None, breaker: Breaker | None = None) -> None:
        self._config = config
        self.key = config.upstream_api_key
        """What the engine asks of its callers, if it does."""
        self._timeouts = timeouts or Timeouts(connect_seconds=config.connect_timeout_seconds)
        self._breaker = breaker or Breaker()
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Upstream:
        self._session = aiohttp.ClientSession(
            # The engine queues; a limit here would hide that.
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE_SECONDS),
            max_line_size=_LONGEST_HEADER,
            max_field_size=_LONGEST_HEADER,
            timeout=aiohttp.ClientTimeout(total=None, connect=self._timeouts.connect_seconds),
            auto_decompress=False,
            trace_configs=[_reuse_noted()],
            request_class=_Request,
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
        *,
        patient: bool = False,
    ) -> AsyncIterator[Answer]:
        """Sends a request; leaving the block early closes the connection, which makes the engine abort.

        Args:
            method: HTTP method.
            target: Path and query exactly as they go on the wire.
            headers: As they go on the wire, without Host and Content-Length.
            body: The body, or None for none.
            stopwatch: Entered while the engine is waited for.
            patient: Whether to wait for as long as the connection lasts, once it stands.

        Raises:
            EngineUnavailable: No connection, or it broke before an answer.
            EngineTimeout: No connection, or no answer, in time.
        """
        try:
            async with self._exchange(method, target, headers, body, stopwatch, patient=patient) as answer:
                self._breaker.answered()
                yield answer
                if answer.complete:
                    self._breaker.completed()
        except BROKEN as error:
            self._breaker.failed(error.message)
            raise

    @asynccontextmanager
    async def _exchange(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | None,
        stopwatch: AbstractContextManager[None],
        *,
        patient: bool,
    ) -> AsyncIterator[Answer]:
        if self._session is None:
            raise RuntimeError("the upstream is used outside its context")
        if not target.startswith("/"):  # `@elsewhere/` behind the engine's host would lead to another
            raise EngineError(f"{target!r} is no path")
        url = URL(self._config.upstream + target, encoded=True)
        decoded = [(key.decode("latin-1"), _text(key, value)) for key, value in headers]
        timeouts = self._timeouts
        due = None if patient else asyncio.get_running_loop().time() + timeouts.first_byte_seconds
        with translated("before it answered"), stopwatch:
            async with _by(due, nothing_came(timeouts)):
                response = await self._response(self._session, method, url, decoded, body)
        try:
            yield Answer(response, timeouts, due)
        finally:
            # At its end a body has already given its connection back; before it, closing tells the engine to stop.
            response.close()

    async def alive(self, seconds: float) -> bool:
        """Whether the engine answers GET /health with anything but a fault; the breaker hears nothing of it.

        Args:
            seconds: Longest wait.
        """
        try:
            async with (
                asyncio.timeout(seconds),
                self._exchange("GET", "/health", [], None, nullcontext(), patient=True) as answer,
            ):
                await answer.read()
                return answer.status < _FAULT
        except (EngineError, TimeoutError):
            return False

    @staticmethod
    async def _response(
        session: aiohttp.ClientSession, method: str, url: URL, headers: list[tuple[str, str]], body: bytes | None
    ) -> aiohttp.ClientResponse:
        """Sends again what met a kept connection that the engine was just closing: it has not seen the request."""
        for _ in range(_STALE_CONNECTIONS):
            use, since = SimpleNamespace(reused=False), time.monotonic()
            try:
                return await session.request(
                    method, url, headers=headers, data=body, allow_redirects=False, trace_request_ctx=use
                )
            except (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError):
                if not use.reused or time.monotonic() - since > _STALE_SECONDS:
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
        seconds = None if patient else self._config.probe_timeout_seconds
        late = EngineTimeout(
            f"the engine did not answer {method} {target} in {seconds} s. Is it overloaded or still starting?"
        )
        async with (
            _by(None if seconds is None else asyncio.get_running_loop().time() + seconds, late),
            self.request(method, target, headers, payload, patient=True) as answer,
        ):
            raw = await answer.read()
        # The list of a thousand states has megabytes, and other requests must not stand still meanwhile.
        decoded = _decoded(raw) if len(raw) <= _DECODED_AT_ONCE else await asyncio.to_thread(_decoded, raw)
        return Told(answer.status, decoded, answer.connector)


class _Request(aiohttp.ClientRequest):
    """Is sent on no connection that has bytes waiting: they would be read as the answer to it, whose ever they are."""

    async def send(self, conn: Connection) -> aiohttp.ClientResponse:
        """Sends it, or says that the connection is stale."""
        if conn.protocol is not None and conn.protocol.should_close:
            raise aiohttp.ServerDisconnectedError
        return await super().send(conn)


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


@asynccontextmanager
async def _by(due: float | None, late: EngineTimeout) -> AsyncIterator[None]:
    """Ends the block at a time of the loop's clock, with an error."""
    try:
        async with asyncio.timeout_at(due) as clock:
            yield
    except TimeoutError as error:
        if not clock.expired():  # the operating system's word for a connection that does not come about
            raise
        raise late from error
