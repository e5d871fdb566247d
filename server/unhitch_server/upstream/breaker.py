"""A circuit breaker: an engine that fails again and again is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

State = Literal["closed", "open", "half-open"]


class Breaker:
    """Opens after some failures in a row; after a while one request is tried, and by it all or none are let through.

    Args:
        failures: So many in a row open it.
        open_seconds: How long it then stays open.
        clock: Gives seconds, never backwards.
    """

    def __init__(
        self, failures: int = 5, open_seconds: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._count = 0
        self._open_until: float | None = None
        self._trying = False
        self.words = ""
        """What was said of the last failure."""

    @property
    def state(self) -> State:
        """`open` where no request is sent, `half-open` where one may be or is tried, else `closed`."""
        if self._open_until is None:
            return "closed"
        return "open" if self.opens_in_seconds else "half-open"

    @property
    def opens_in_seconds(self) -> float:
        """How long until a request is tried; 0 where one may be sent."""
        return 0.0 if self._open_until is None else max(0.0, self._open_until - self._clock())

    def admits(self) -> bool:
        """Whether a request may be sent now."""
        return self.state == "closed" or (self.state == "half-open" and not self._trying)

    def begin(self) -> bool:
        """Notes that a request is sent; whether it is the one that is tried."""
        trial = self._open_until is not None and not self._trying
        self._trying = self._trying or trial
        return trial

    def abandon(self) -> None:
        """Notes that the request that was tried has ended, so that another may be if it said nothing of the engine."""
        self._trying = False

    def answered(self) -> None:
        """Notes that an answer has begun: the engine serves again."""
        if self._open_until is not None:
            self._open_until, self._count = None, 0

    def completed(self) -> None:
        """Notes that an answer has come to its end."""
        self._count = 0

    def failed(self, words: str) -> None:
        """Notes a failure.

        Args:
            words: What is to be said of it.
        """
        self.words = words
        self._count += 1
        if (self._open_until is None and self._count >= self._most) or self.state == "half-open":
            self._open_until = self._clock() + self._open_seconds

    def hurry(self) -> None:
        """Has a request tried at once, since the engine was seen to be alive."""
        if self._open_until is not None:
            self._open_until = min(self._open_until, self._clock())
