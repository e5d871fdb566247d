"""Reading a request and writing its answer, at the level of ASGI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

from starlette.types import Message, Receive, Send

from unhitch import headers as wire
from unhitch.errors import BodyTooLarge, BodyTooSlow, UnhitchError
from unhitch_server.upstream.connection import Headers
from unhitch_server.upstream.faults import NotServed

BODY_SILENCE_SECONDS = 60.0
"""How long a client may send nothing of a body that it has begun; whoever waits in vain holds a place of a limit."""


class ClientGone(Exception):
    """The client closed its connection; there is nobody to answer."""


async def read_body(
    receive: Receive,
    headers: Iterable[tuple[bytes, bytes]],
    limit: int,
    *,
    silence_seconds: float = BODY_SILENCE_SECONDS,
) -> bytes:
    """The whole request body.

    Args:
        receive: ASGI's.
        headers: The request's, for its Content-Length.
        limit: Most bytes allowed.
        silence_seconds: How long the next part may take to come.

    Raises:
        BodyTooSlow: A part took longer.
        BodyTooLarge: It is longer, or says that it will be.
        ClientGone: The client left before its end.
    """
    declared = next((value for key, value in headers if key.lower() == b"content-length"), b"0")
    size = int(declared) if declared.isdigit() else 0
    body, more = bytearray(), True
    while more and max(size, len(body)) <= limit:
        try:
            async with asyncio.timeout(silence_seconds):
                message = await receive()
        except TimeoutError:
            raise BodyTooSlow(
                f"{len(body)} bytes of the request body came, and then nothing for {silence_seconds:g} s"
            ) from None
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        more = message.get("more_body", False)
    if max(size, len(body)) > limit:
        raise BodyTooLarge(
            f"the request body has {max(size, len(body))} bytes or more; the operator allows {limit} "
            "(UNHITCH_MAX_BODY_BYTES)"
        )
    return bytes(body)


def without(headers: Headers, name: bytes) -> Headers:
    """The headers that are not of a name.

    Args:
        headers: Names in any case.
        name: In lower case.
    """
    return [(key, value) for key, value in headers if key.lower() != name]


async def until_gone(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Does the work, unless the client leaves first: then it is cancelled, and with it what the engine does.

    Raises:
        ClientGone: The client left.
    """
    task = asyncio.ensure_future(work)
    watch = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGone
        task.result()
    finally:
        for each in (task, watch):
            each.cancel()
        await asyncio.gather(task, watch, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    message: Message = {"type": ""}
    while message["type"] != "http.disconnect":
        message = await receive()


class Errors(Protocol):
    """How errors of ours are written for the clients of a route."""

    @classmethod
    def error_body(cls, error: UnhitchError) -> bytes:
        """As JSON."""

    @classmethod
    def error_event(cls, error: UnhitchError) -> bytes:
        """As the event that ends a stream which has begun, its blank line included."""


class OpenAIErrors:
    """As OpenAI's clients read them."""

    __slots__ = ()

    @classmethod
    def error_body(cls, error: UnhitchError) -> bytes:
        """The error object."""
        return json.dumps(error.to_openai(), ensure_ascii=False).encode("utf-8")

    @classmethod
    def error_event(cls, error: UnhitchError) -> bytes:
        """The same as an event without a name."""
        return b"data: " + cls.error_body(error) + b"\n\n"


class Reply:
    """One answer to one client, and what has gone out of it."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False
        self.event_stream = False
        self.status = 0
        """As it went out; 0 before that."""
        self.applied = False
        """Whether its headers say that a mitigation was applied."""
        self.broken = False
        """Whether it began and ended in an error."""

    async def start(self, status: int, headers: Headers) -> None:
        """Sends status and headers."""
        self.started, self.status = True, status
        for key, value in headers:
            name = key.lower()
            if name == b"content-type":
                self.event_stream = b"event-stream" in value
            elif name == _APPLIED:
                self.applied = value != b"off"
        await self._send({"type": "http.response.start", "status": status, "headers": headers})

    async def write(self, chunk: bytes) -> None:
        """Sends a part of the body, and waits while the client reads slower than it is written."""
        await self._send({"type": "http.response.body", "body": chunk, "more_body": True})

    async def end(self) -> None:
        """Ends the body."""
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """Sends a complete answer; Content-Length is set to fit the body."""
        await self.start(status, [*without(headers, b"content-length"), (b"content-length", b"%d" % len(body))])
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    def watch(self, through: Callable[[Send], Send]) -> None:
        """Has what goes out from now on go through something first."""
        self._send = through(self._send)

    async def error(self, error: UnhitchError, headers: Headers, errors: type[Errors] = OpenAIErrors) -> None:
        """Sends an error object, or an engine's own answer that it takes no request, as far as that can be.

        In a stream that has begun it goes as an event; in another body that has begun nothing honest can be said any
        more, so the connection is broken off.
        """
        if isinstance(error, NotServed) and not self.started:
            await self.whole(error.answered, error.answered_headers, error.body)
            return
        if not self.started:
            told = [(b"content-type", b"application/json"), *error.headers, *headers]
            await self.whole(error.status, told, errors.error_body(error))
            return
        self.broken = True
        if self.event_stream:
            # The stream may have broken off within an event; the blank line ends that one.
            await self.write(b"\n\n" + errors.error_event(error))
            await self.end()
        else:
            raise error


_APPLIED = wire.APPLIED.lower().encode("latin-1")
