"""One running engine: the connection to it, and what is known of it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from unhitch_server.config import Config
from unhitch_server.engine import Engine
from unhitch_server.sampling import RenderingSampler
from unhitch_server.upstream.connection import Upstream


class Replica:
    """One of the engines that serve the same models. Use as an async context manager.

    Args:
        config: Gives its URL, and what it is asked.
    """

    def __init__(self, config: Config) -> None:
        self.url = config.upstream
        self.connection = Upstream(config)
        self.engine = Engine(config, self.connection)
        self.sampler = RenderingSampler(config.rendering_check_every, self.engine)

    async def __aenter__(self) -> Self:
        await self.connection.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.gather(self.sampler.close(), self.engine.states.close(), return_exceptions=True)
        await self.connection.__aexit__(kind, error, trace)
