"""How many requests: a minute for each key, at once for each key, and at once over all."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from unhitch.errors import Overloaded, RateLimited, TooManyAtOnce
from unhitch_server.access.caller import Caller

_MINUTE_SECONDS = 60.0
_ALMOST = 1.0 - 1e-9  # of a token: what a wait of just the right length gives in floats


class Bucket:
    """A token bucket that holds one minute's requests: so many may come at once, and so many a minute on average.

    Its size is given anew with every use, so that a limit that the operator changes holds from the next request on.
    """

    __slots__ = ("_filled_at", "_tokens")

    def __init__(self) -> None:
        self._tokens = math.inf  # cut to its size when that is first known
        self._filled_at = 0.0

    def wait_seconds(self, per_minute: int, now: float) -> float:
        """Seconds until there is a token; 0 where there is one now.

        Args:
            per_minute: Size of the bucket, and tokens that it gets a minute.
            now: The clock's seconds.
        """
        gained = (now - self._filled_at) * per_minute / _MINUTE_SECONDS
        self._tokens, self._filled_at = min(float(per_minute), self._tokens + gained), now
        return 0.0 if self._tokens >= _ALMOST else (1.0 - self._tokens) * _MINUTE_SECONDS / per_minute

    def take(self) -> None:
        """Takes a token, which `wait_seconds` has just said to be there."""
        self._tokens -= 1.0


class _Meter:
    """What one key has used."""

    __slots__ = ("bucket", "under_way")

    def __init__(self) -> None:
        self.bucket = Bucket()
        self.under_way = 0


class Limits:
    """Counts requests, and refuses those beyond a limit.

    Args:
        most_at_once: Requests under way over all callers, or None for any number.
        clock: Seconds that only grow.
    """

    def __init__(self, most_at_once: int | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most_at_once
        self._clock = clock
        self._meters: dict[str, _Meter] = {}
        self.under_way = 0

    @contextmanager
    def slot(self, caller: Caller) -> Iterator[None]:
        """A place among the requests under way, for as long as the block lasts; it is given back however that ends.

        Nothing is awaited between the look at the limits and the taking, so no request can slip in between. A refused
        request costs nothing.

        Raises:
            Overloaded: As many requests are under way as the proxy takes.
            TooManyAtOnce: The same for the key.
            RateLimited: The key has no request of this minute left.
        """
        if self._most is not None and self.under_way >= self._most:
            raise Overloaded(
                f"{self.under_way} requests are under way, which are the most that the proxy takes at once; try again"
            )
        meter = self._meters.setdefault(caller.identity, _Meter()) if caller.identity else _Meter()
        self._admit(caller, meter)
        self.under_way += 1
        meter.under_way += 1
        try:
            yield
        finally:
            meter.under_way -= 1
            self.under_way -= 1

    def keep(self, identities: Iterable[str]) -> None:
        """Forgets what keys have used that are no longer there, once their requests have ended."""
        kept = set(identities)
        for identity in [each for each, meter in self._meters.items() if each not in kept and not meter.under_way]:
            del self._meters[identity]

    def _admit(self, caller: Caller, meter: _Meter) -> None:
        if caller.concurrent is not None and meter.under_way >= caller.concurrent:
            raise TooManyAtOnce(
                f"the key {caller.name!r} has {meter.under_way} requests under way; {caller.concurrent} at once are "
                "allowed. Try again when one has ended."
            )
        if caller.per_minute is None:
            return
        if wait := meter.bucket.wait_seconds(caller.per_minute, self._clock()):
            raise RateLimited(
                f"the key {caller.name!r} may make {caller.per_minute} requests a minute, and has; the next may come "
                f"in {math.ceil(wait)} s",
                wait_seconds=wait,
            )
        meter.bucket.take()
