"""Runs a target: hypothesis makes the inputs, and one event loop takes them all."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.strategies import SearchStrategy

Check: TypeAlias = Callable[[Any], Awaitable[str]]
"""Takes an input, gives a few words for what came of it, and raises AssertionError where that must not be."""

LONGEST_SECONDS = 20.0
"""What takes longer hangs."""

_BATCH = 500


@dataclass(frozen=True)
class Target:
    """Something that takes inputs.

    Args:
        name: For people.
        share: Of all inputs, in parts of 100.
        inputs: Makes them.
        opened: Gives what takes them.
    """

    name: str
    share: int
    inputs: SearchStrategy[Any]
    opened: Callable[[], AbstractAsyncContextManager[Check]]


@dataclass
class Result:
    """What came of a target.

    Args:
        target: Its name.
        inputs: How many it took.
        seconds: How long that was.
        came: How often what came.
        failing: The last input that failed.
        failure: The smallest input that fails, and how; None where all is well.
    """

    target: str
    inputs: int = 0
    seconds: float = 0.0
    came: Counter[str] = field(default_factory=Counter)
    failing: str | None = None
    failure: str | None = None


def fuzz(
    target: Target,
    inputs: int,
    *,
    start: int = 0,
    progress: Callable[[int], None] = lambda count: None,
) -> Result:
    """Gives a target inputs until one fails.

    Args:
        target: The target.
        inputs: How many.
        start: Other inputs for another number.
        progress: Told of each batch.
    """
    result, began = Result(target.name), time.perf_counter()
    with asyncio.Runner() as runner:
        opened = target.opened()
        check = runner.run(opened.__aenter__())
        try:
            for number in range(0, inputs, _BATCH):
                size = min(_BATCH, inputs - number)
                _batch(target, check, runner, result, size, start + number)
                progress(size)
        except Exception as error:  # whatever it is, it is what was looked for
            made_of = result.failing or "\n".join(getattr(error, "__notes__", ()))
            result.failure = f"{type(error).__name__}: {error}\ncame of {made_of}"
        finally:
            runner.run(opened.__aexit__(None, None, None))
    result.seconds = time.perf_counter() - began
    return result


def _batch(target: Target, check: Check, runner: asyncio.Runner, result: Result, size: int, start: int) -> None:
    async def timed(given_input: Any) -> str:
        async with asyncio.timeout(LONGEST_SECONDS):
            return await check(given_input)

    loop = runner.get_loop()

    @seed(start)
    @settings(
        max_examples=size,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(target.inputs)
    def once(given_input: Any) -> None:
        result.inputs += 1
        try:
            result.came[loop.run_until_complete(timed(given_input))] += 1
        except BaseException:
            result.failing = repr(given_input)  # hypothesis ends with the smallest one
            raise

    once()
