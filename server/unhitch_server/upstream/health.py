"""Asks an engine how it is, beside the path of requests."""

from __future__ import annotations

import asyncio
import logging
import random

from unhitch_server.upstream.replica import Replica

ALIVE_SECONDS = 10.0
"""Longest wait for an answer: an engine under load is slow to give it, and is not dead for that."""

FAILURES = 2
"""So many in a row make an engine unhealthy."""

_log = logging.getLogger(__name__)


async def watch(replica: Replica, every_seconds: float) -> None:
    """Asks an engine again and again whether it is healthy, and notes it; ends when it is cancelled.

    One that is alive again after failures has a request tried at once.

    Args:
        replica: The engine.
        every_seconds: Time between two questions, give or take a tenth, so that engines are not asked in step.
    """
    failures = 0
    while True:
        await asyncio.sleep(every_seconds * random.uniform(0.9, 1.1))
        alive = await replica.connection.alive(ALIVE_SECONDS)
        failures = 0 if alive else failures + 1
        healthy = failures < FAILURES
        if healthy != replica.healthy:
            _log.log(
                logging.INFO if healthy else logging.WARNING,
                "the engine at %s is %s",
                replica.url,
                "healthy again" if healthy else "not healthy: GET /health fails; others are asked first",
            )
        replica.healthy = healthy
        if alive:
            replica.breaker.hurry()
