"""One running engine: the connection to it, what is known of it, and what it is doing for us."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self

from unhitch_server.config import Config
from unhitch_server.engine import Engine
from unhitch_server.sampling import RenderingSampler
from unhitch_server.upstream.breaker import Breaker
from unhitch_server.upstream.connection import Upstream
from unhitch_server.upstream.timeouts import Timeouts


class Replica:
    """One of the engines that serve the same models. Use as an async context manager.

    Args:
        config: Gives its URL, its key, and what it is asked.
        timeouts: Longest waits for it; the usual ones if left out.
        breaker: Says when it is left alone; the usual one if left out.
    """

    def __init__(self, config: Config, timeouts: Timeouts | None = None, breaker: Breaker | None = None) -> None:
        self.url = config.upstream
        self.breaker = breaker or Breaker()
        self.connection = Upstream(config, timeouts, self.breaker)
        self.engine = Engine(config, self.connection)
        self.sampler = RenderingSampler(config.rendering_check_every, self.engine)
        self.under_way = 0
        """How many requests it is serving."""
        self.healthy = True
        """Whether it answered when it was last asked how it is."""

    async def __aenter__(self) -> Self:
        await self.connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(self.sampler.close(), self.engine.states.close(), return_exceptions=True)
        await self.connection.__aexit__(kind, error, trace)

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Counts a request as under way for as long as the block lasts, however it ends."""
        trial = self.breaker.begin()
        self.under_way += 1
        try:
            yield
        finally:
            self.under_way -= 1
            if trial:
                self.breaker.abandon()
