"""uvicorn's HTTP connection, stricter about what is no request, and about where one ends and the next begins."""

from __future__ import annotations

import asyncio
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_HEAD_BYTES = 2**17
"""Of request line and headers together; above what the proxy reads, whose refusals can say more than this one."""

HEAD_SECONDS = 60.0
"""How long a head may take to come, from the connection's or the request's first moment on."""

_UPGRADING = frozenset({b"upgrade", b"http2-settings"})
"""Headers, and words of Connection, by which a client offers another protocol."""

_NO_REQUEST = "Invalid HTTP request received."
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """Breaks off requests whose head is too large or too slow. Hand the class to uvicorn as its `http` setting.

    An offer of another protocol than WebSocket (as of HTTP/2, which Java's client makes with every first request) is
    not taken, and the request served: uvicorn would take its body for the next request on the connection.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._in_head = False
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Starts the time of the first head."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Ends it."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Counts the bytes of a head that began in an earlier packet, and parses them."""
        began_earlier = self._in_head
        self._unset_keepalive_if_required()
        self._parse(data)
        if began_earlier and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._break_off(_TOO_LARGE)

    def on_message_begin(self) -> None:
        """A head begins."""
        self._in_head, self._head_bytes = True, 0
        self._start_timer()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """It has ended."""
        self._in_head = False
        self._stop_timer()
        if not self._offers_in_vain():
            super().on_headers_complete()

    def on_message_complete(self) -> None:
        """So has the body."""
        if not self._offers_in_vain():
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no request, unless that would be taken for the answer to an earlier one."""
        cycle = self.cycle
        if cycle is None or (cycle.response_complete and not cycle.more_body):
            super().send_400_response(msg)
        elif not cycle.more_body:
            cycle.keep_alive = False  # those under way are answered, and nothing that follows is read
            self._in_head = False
            self._stop_timer()
        elif cycle.response_started or self.pipeline:
            self.transport.close()
        else:
            super().send_400_response(msg)

    def _parse(self, data: bytes) -> None:
        while True:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserError:
                self.send_400_response(_NO_REQUEST)
            except httptools.HttpParserUpgrade as stopped:
                if self._should_upgrade():
                    self.handle_websocket_upgrade()
                elif self.parser.get_method() == b"CONNECT":
                    self.send_400_response(_NO_REQUEST)
                else:
                    # The parser reads no further: a new one gets the same request without the offer.
                    data = self._head_without_offer() + data[stopped.args[0] :]
                    self.parser = httptools.HttpRequestParser(self)
                    continue
            return

    def _offers_in_vain(self) -> bool:
        return self.parser.should_upgrade() and not self._should_upgrade()

    def _should_upgrade(self) -> bool:
        """Whether it is an offer of WebSocket as that is defined: with GET, and without a body."""
        length = any(
            name in (b"content-length", b"transfer-encoding") and value != b"0" for name, value in self.headers
        )
        return super()._should_upgrade() and self.parser.get_method() == b"GET" and not length

    def _head_without_offer(self) -> bytes:
        version = self.parser.get_http_version().encode()
        lines = [self.parser.get_method() + b" " + self.url + b" HTTP/" + version]
        for name, value in self.headers:
            if name == b"connection":
                words = [word.strip() for word in value.split(b",")]
                value = b", ".join(word for word in words if word.lower() not in _UPGRADING)
                if not value:
                    continue
            if name not in _UPGRADING:
                lines.append(name + b": " + value)
        return b"\r\n".join([*lines, b"", b""])

    def _start_timer(self) -> None:
        self._stop_timer()
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._break_off, _TOO_SLOW)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _break_off(self, answer: bytes) -> None:
        self._stop_timer()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:  # else it would stand within another answer
            self.transport.write(answer)
        self.transport.close()
