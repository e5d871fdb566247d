"""Several engines that serve the same models: which one gets a request, and when another is tried."""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from unhitch.errors import CircuitOpen, EngineError, EngineUnavailable
from unhitch_server.engine import Engine
from unhitch_server.upstream.faults import RETRIED, UNSENT
from unhitch_server.upstream.health import watch
from unhitch_server.upstream.replica import Replica

ATTEMPTS = 3
"""How often a request is sent at most, all engines taken together, where nobody says otherwise."""

BACKOFF_SECONDS = 0.1
"""The wait before the second attempt, give or take half; it doubles with each."""


class Fleet:
    """The engines behind the proxy. Use as an async context manager; it enters and leaves its replicas.

    Args:
        replicas: At least one, no two with one URL.
        health_seconds: How often each is asked how it is.
        attempts: How often a request is sent at most, all engines taken together.
        by_session: Whether all requests of a session go to one engine; else each goes to the least busy one.
        backoff_seconds: The wait before the second attempt, give or take half; it doubles with each.

    Raises:
        ValueError: There is no replica, or two have one URL.
    """

    def __init__(
        self,
        replicas: Sequence[Replica],
        *,
        health_seconds: float = 5.0,
        attempts: int = ATTEMPTS,
        by_session: bool = True,
        backoff_seconds: float = BACKOFF_SECONDS,
    ) -> None:
        urls = [replica.url for replica in replicas]
        if not urls or len(set(urls)) < len(urls):
            raise ValueError(f"a fleet is of one engine or more, each with its own URL; received {urls}")
        self.replicas = tuple(replicas)
        self._health_seconds = health_seconds
        self._attempts = attempts
        self._by_session = by_session
        self._backoff_seconds = backoff_seconds
        self._stack = AsyncExitStack()
        self._watches: list[asyncio.Task[None]] = []
        self.retried = 0
        """How many attempts were made after a first one had failed."""

    async def __aenter__(self) -> Self:
        for replica in self.replicas:
            await self._stack.enter_async_context(replica)
        self._watches = [asyncio.create_task(watch(replica, self._health_seconds)) for replica in self.replicas]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._watches:
            task.cancel()
        await asyncio.gather(*self._watches, return_exceptions=True)
        await self._stack.__aexit__(kind, error, trace)

    @property
    def engine(self) -> Engine:
        """The first that may be asked, for what is the same for all of them; where none may, the first."""
        usable = (each for each in self.replicas if each.healthy and each.breaker.admits())
        return next(usable, self.replicas[0]).engine

    def order(self, session: str | None) -> list[Replica]:
        """The replicas that may be asked, best first.

        Those that fail GET /health come last, since the question may have been what failed; those whose breaker is
        open are left out.

        Args:
            session: Has the same replica come first as long as it can be had, so that its cache is warm; one replica
                more or less moves the sessions of that one only. Without it, the one with the least requests under way
                comes first.
        """
        usable = [replica for replica in self.replicas if replica.breaker.admits()]
        random.shuffle(usable)  # among equals
        if session is None or not self._by_session:
            return sorted(usable, key=lambda replica: (not replica.healthy, replica.under_way))
        return sorted(usable, key=lambda replica: (not replica.healthy, _rank(session, replica.url)))

    async def serve(
        self, session: str | None, attempt: Callable[[Replica], Awaitable[None]], started: Callable[[], bool]
    ) -> None:
        """Serves a request by the first engine that can.

        It is tried again as `upstream.faults` says, and only while the client has seen nothing: on another replica,
        or on the only one there is where that refused the connection.

        Args:
            session: As in `order`.
            attempt: Serves the request by the engine given; called again for another one, with the same outcome but
                for the engine, so nothing in it may be used up.
            started: Whether the client has seen a byte of the answer.

        Raises:
            EngineUnavailable: No engine may be asked now.
            NotServed: The last engine that could be asked answered that it does not take the request.
            UnhitchError: Whatever the last attempt raised.
        """
        tried: list[Replica] = []
        failure: EngineError | None = None
        while (replica := self._next(session, tried, failure)) is not None:
            if tried:
                self.retried += 1
                await asyncio.sleep(self._backoff_seconds * 2 ** (len(tried) - 1) * random.uniform(0.5, 1.5))
            tried.append(replica)
            try:
                with replica.serving():
                    return await attempt(replica)
            except EngineError as error:
                if isinstance(error, EngineUnavailable):
                    replica.engine.forget()
                if started() or not isinstance(error, RETRIED):
                    raise
                failure = error
        raise failure or self._none_left()

    def snapshot(self) -> list[dict[str, Any]]:
        """The state of each replica, ready for JSON; no keys."""
        return [
            {
                "url": replica.url,
                "healthy": replica.healthy,
                "breaker": replica.breaker.state,
                "under_way": replica.under_way,
            }
            for replica in self.replicas
        ]

    def _next(self, session: str | None, tried: Sequence[Replica], failure: EngineError | None) -> Replica | None:
        if len(tried) >= self._attempts:
            return None
        again = len(self.replicas) == 1 and isinstance(failure, UNSENT)
        return next((replica for replica in self.order(session) if again or replica not in tried), None)

    def _none_left(self) -> CircuitOpen:
        soonest = min(self.replicas, key=lambda replica: replica.breaker.opens_in_seconds)
        return CircuitOpen(
            f"no engine is asked now, since the last requests to {'it' if len(self.replicas) == 1 else 'each'} failed; "
            f"one is tried in {soonest.breaker.opens_in_seconds:.0f} s. The last failure: {soonest.breaker.words}",
            wait_seconds=soonest.breaker.opens_in_seconds,
        )


def _rank(session: str, url: str) -> bytes:
    """Rendezvous hashing: the replica with the lowest rank has the session."""
    return hashlib.blake2b(f"{session}\0{url}".encode(), digest_size=8).digest()
