"""The one way in for requests that go to the engine: bounded, from a known caller, and within their limits."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.types import Scope

from unhitch.errors import InvalidKey
from unhitch_server.access import bounds
from unhitch_server.access.caller import ANYONE, OPERATOR, Caller
from unhitch_server.access.control import OPERATOR_MARK, ControlKey
from unhitch_server.access.credentials import presented
from unhitch_server.access.keyring import Keyring
from unhitch_server.access.limits import Limits
from unhitch_server.upstream.connection import Headers


class Doorkeeper:
    """Lets requests in, and counts them while they are.

    Args:
        key_file: The clients' keys; without it, no key is asked for.
        control_key: The operator's, for control routes.
        most_at_once: Requests under way over all callers, or None for any number.
        most_header_bytes: Bytes of names and values of all header lines.
        most_header_lines: Header lines.
        clock: Seconds that only grow.

    Raises:
        KeyFileError: The file of keys cannot be used.
        InvalidRequest: The control key is too short.
    """

    def __init__(
        self,
        key_file: Path | None = None,
        control_key: str | None = None,
        *,
        most_at_once: int | None = None,
        most_header_bytes: int = bounds.MOST_HEADER_BYTES,
        most_header_lines: int = bounds.MOST_HEADER_LINES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.control_key = ControlKey(control_key)
        self.limits = Limits(most_at_once, clock)
        self._keyring = None if key_file is None else Keyring(key_file, clock)
        self._header_bounds = (most_header_bytes, most_header_lines)

    @property
    def client_keys(self) -> bool:
        """Whether clients need keys."""
        return self._keyring is not None

    @asynccontextmanager
    async def admit(self, scope: Scope) -> AsyncIterator[Caller]:
        """Lets a request in for as long as the block lasts. Enter it before the body is read.

        Args:
            scope: ASGI's.

        Raises:
            HeadersTooLarge: More headers than are read.
            InvalidKey: No key came, or none in force.
            RateLimited: The caller's limits are used up.
            Overloaded: The proxy's are.
        """
        bounds.check_headers(scope["headers"], *self._header_bounds)
        if scope.get(OPERATOR_MARK):
            yield OPERATOR
            return
        caller = await self._caller(scope)
        with self.limits.slot(caller):
            yield caller

    async def _caller(self, scope: Scope) -> Caller:
        if self._keyring is None:
            return ANYONE
        before = self._keyring.keys
        keys = await self._keyring.current()
        if keys is not before:
            self.limits.keep(key.sha256 for key in keys.all)
        return keys.find(presented(scope["headers"]))

    def ours(self, headers: Headers) -> bool:
        """Whether the key in a request's headers, if there is one, is for the proxy and not for the engine."""
        if self.client_keys:
            return True
        try:
            return self.control_key.is_set and self.control_key.matches(presented(headers))
        except InvalidKey:
            return True  # several keys, of which one may be the control key
