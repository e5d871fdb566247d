"""Work that several requests wait for: done once for all of them, and to its end though they leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Shared(Generic[K, T]):
    """Work under way, by key."""

    def __init__(self) -> None:
        self._joinable: dict[K, asyncio.Task[T]] = {}
        self._running: set[asyncio.Task[T]] = set()

    async def join(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What the work under this key gives, or raises; begun where nobody has begun it.

        Args:
            key: Names the work.
            work: Begins it.
        """
        task = self._joinable.get(key)
        if task is None or task.done():
            task = self._joinable[key] = asyncio.create_task(work())
            self._running.add(task)
            task.add_done_callback(partial(self._ended, key))
        return await asyncio.shield(task)

    def forget(self) -> None:
        """Has the next caller begin anew; what is under way goes on for those who wait for it."""
        self._joinable = {}

    async def close(self) -> None:
        """Ends what is under way."""
        running = list(self._running)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    def _ended(self, key: K, task: asyncio.Task[T]) -> None:
        self._running.discard(task)
        if self._joinable.get(key) is task:
            del self._joinable[key]
        if not task.cancelled():
            task.exception()  # where nobody is left to hear of it, asyncio would complain
