"""uvicorn as the proxy runs it: signals left alone, clients that stop reading dropped, requests drained at the end."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Generator
from contextlib import contextmanager

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from unhitch_server.config import DRAIN_SECONDS, WRITE_SECONDS
from unhitch_server.draining import Draining

_LAST_WORDS_SECONDS = 2.0  # for what is sent to those whose time to end is over
_TICKS_A_SECOND = 10  # uvicorn's


class Server(uvicorn.Server):
    """uvicorn, with signals left to whoever runs it.

    Args:
        config: uvicorn's settings; its graceful timeout is set anew.
        draining: The middleware that knows the requests; without it, they are cancelled at the end without a word.
        drain_seconds: How long requests may take to end once the server was asked to stop.
        write_seconds: How long a client may read nothing of what waits for it, give or take a second.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        draining: Draining | None = None,
        *,
        drain_seconds: float = DRAIN_SECONDS,
        write_seconds: float = WRITE_SECONDS,
    ) -> None:
        super().__init__(config)
        # uvicorn takes whole seconds for an annotation only: it hands the number to asyncio.
        self.config.timeout_graceful_shutdown = drain_seconds + _LAST_WORDS_SECONDS  # type: ignore[assignment]
        self.draining = draining
        self._drain_seconds = drain_seconds
        self._write_seconds = write_seconds
        self._waiting: dict[HttpToolsProtocol, tuple[int, float]] = {}

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Captures none."""
        yield

    async def on_tick(self, counter: int) -> bool:
        """Looks after slow readers once a second."""
        if counter % _TICKS_A_SECOND == 0:
            self._drop_stalled(time.monotonic())
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stops accepting, lets the requests under way end in their time, and breaks off the others."""
        deadline = None
        if self.draining is not None:
            self.draining.begin()
            deadline = asyncio.get_running_loop().call_later(self._drain_seconds, self.draining.break_off)
        try:
            await super().shutdown(sockets)
        finally:
            if deadline is not None:
                deadline.cancel()
            for connection in list(self.server_state.connections):
                connection.transport.abort()

    def _drop_stalled(self, now: float) -> None:
        """Drops connections whose full buffer did not get emptier for too long.

        Closing them would not do: that waits for the buffer to be read.
        """
        waiting = {}
        for connection in self.server_state.connections:
            if not isinstance(connection, HttpToolsProtocol):
                continue
            transport = connection.transport
            size = transport.get_write_buffer_size()
            if not size or not (connection.flow.write_paused or transport.is_closing()):
                continue  # only a paused or closing connection gets nothing new, so that its buffer tells
            before, since = self._waiting.get(connection, (size + 1, now))
            waiting[connection] = (size, since if size >= before else now)
        self._waiting = waiting
        for connection, (_, since) in waiting.items():
            if now - since >= self._write_seconds:
                connection.transport.abort()
