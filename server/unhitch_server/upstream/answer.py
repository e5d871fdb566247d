"""An answer of the engine: its head as it goes to the client, its body as it comes, and how long it may take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable

import aiohttp

from unhitch.errors import EngineError, EngineTimeout
from unhitch.states.patch import CONNECTOR_HEADER
from unhitch_server.upstream.faults import UNSERVED, NotServed, translated
from unhitch_server.upstream.timeouts import Timeouts

Headers = list[tuple[bytes, bytes]]

OWN_PREFIX = b"unhitch-"
"""What the names of all headers of ours begin with, in lower case; none travels upstream, and none comes from there."""

_NOT_MODIFIED = 304
_LONGEST_ANSWER = 256 * 2**20

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
    """An answer of the engine whose body has not been read yet.

    Args:
        response: Its head.
        timeouts: Longest waits for its body.
        first_byte_by: When the first byte of the body is due, by the loop's clock; None for no clocks at all.
    """

    def __init__(self, response: aiohttp.ClientResponse, timeouts: Timeouts, first_byte_by: float | None) -> None:
        self._response = response
        self._timeouts = timeouts
        self._due = first_byte_by
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

    @property
    def complete(self) -> bool:
        """Whether the whole body has come."""
        return self._response.content.is_eof()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes; whoever takes its parts slowly slows the engine's connection down, too.

        Raises:
            EngineError: The connection broke before the end.
            EngineTimeout: The first byte, or the next, did not come in time.
        """
        content = self._response.content
        with translated("while its answer was read"), _Clock(content, self._timeouts, self._due) as clock:
            while chunk := await content.readany():
                clock.stop()
                yield chunk
                clock.start()

    async def read(self) -> bytes:
        """The whole body.

        Raises:
            EngineError: The connection broke before the end, or the body has more than 256 MiB.
            EngineTimeout: The first byte, or the next, did not come in time.
        """
        body = bytearray()
        async for chunk in self.chunks():
            body += chunk
            if len(body) > _LONGEST_ANSWER:
                raise EngineError(f"the engine's answer has more than {_LONGEST_ANSWER} bytes; it was told to stop")
        return bytes(body)

    async def require_served(self, receipt: Headers) -> None:
        """Sees that an engine took the request.

        Args:
            receipt: Headers of ours for the client, should it come to see the answer all the same.

        Raises:
            NotServed: None did, so another one may be asked.
        """
        if self.status in UNSERVED:
            raise NotServed(self.status, self.headers + receipt, await self.read())


class _Clock:
    """Ends the wait for a part of a body when it gets too long.

    One timer serves the whole body: it looks at the times noted instead of being set anew with every part.

    Args:
        content: The body.
        timeouts: Longest waits.
        due: When its first byte is, by the loop's clock; None to wait for any time.
    """

    def __init__(self, content: aiohttp.StreamReader, timeouts: Timeouts, due: float | None) -> None:
        self._content = content
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        self._due = due
        self._begun = False
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> _Clock:
        if self._due is not None:
            self._timer = self._loop.call_at(self._due, self._look)
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def stop(self) -> None:
        """Notes that a part has come."""
        self._due = None
        if not self._begun and self._timer is not None:
            self._begun = True
            self._timer.cancel()  # it was set for the first byte, which may be given far longer than the next
            self._timer = self._loop.call_later(self._timeouts.silence_seconds, self._look)

    def start(self) -> None:
        """Notes that the next one is waited for."""
        self._due = self._loop.time() + self._timeouts.silence_seconds

    def _look(self) -> None:
        now, due = self._loop.time(), self._due
        if due is None:  # the client takes its time, which is not the engine's
            due = now + self._timeouts.silence_seconds
        if due > now:
            self._timer = self._loop.call_at(due, self._look)
        else:
            self._content.set_exception(self._late())

    def _late(self) -> EngineTimeout:
        if not self._begun:
            return nothing_came(self._timeouts)
        return EngineTimeout(
            f"the engine fell silent within its answer for {self._timeouts.silence_seconds:g} s, so it was told to "
            "stop. Does it hang?"
        )


def nothing_came(timeouts: Timeouts) -> EngineTimeout:
    """The error for an answer without a first byte."""
    return EngineTimeout(
        f"nothing of the engine's answer came in {timeouts.first_byte_seconds:g} s, so it was told to stop. Is it "
        "overloaded, or is the prompt very long?"
    )
