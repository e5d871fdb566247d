from __future__ import annotations

import asyncio

import pytest

from unhitch_server.states.shared import Shared


class Work:
    """Counts how often it began, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun = 0
        self.cancelled = False
        self.may_end = asyncio.Event()

    async def __call__(self) -> int:
        self.begun += 1
        number = self.begun
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return number


async def started(shared: Shared[str, int], work: Work, key: str = "key") -> asyncio.Task[int]:
    task = asyncio.create_task(shared.join(key, work))
    await asyncio.sleep(0.01)
    return task


async def test_callers_at_the_same_time_share_one_and_the_next_begins_anew() -> None:
    shared, work = Shared[str, int](), Work()
    callers = [await started(shared, work) for _ in range(3)]
    other = await started(shared, work, "other")
    work.may_end.set()
    assert await asyncio.gather(*callers, other) == [1, 1, 1, 2]
    assert await shared.join("key", work) == 3


async def test_it_goes_on_when_a_caller_leaves() -> None:
    shared, work = Shared[str, int](), Work()
    first, second = await started(shared, work), await started(shared, work)
    first.cancel()
    await asyncio.sleep(0.01)
    assert not work.cancelled
    work.may_end.set()
    assert await second == 1


async def test_what_is_forgotten_ends_for_those_who_wait_and_is_joined_by_nobody_else() -> None:
    shared, work = Shared[str, int](), Work()
    before = await started(shared, work)
    shared.forget()
    after = [await started(shared, work) for _ in range(2)]
    work.may_end.set()
    assert await asyncio.gather(before, *after) == [1, 2, 2]


async def test_all_who_wait_hear_of_a_fault() -> None:
    async def fail() -> int:
        await asyncio.sleep(0.01)
        raise ValueError("no")

    shared = Shared[str, int]()
    answers = await asyncio.gather(*(shared.join("key", fail) for _ in range(2)), return_exceptions=True)
    assert [str(answer) for answer in answers] == ["no", "no"]


async def test_what_is_under_way_is_ended_with_all_else() -> None:
    shared, work = Shared[str, int](), Work()
    caller = await started(shared, work)
    shared.forget()
    await shared.close()
    assert work.cancelled
    with pytest.raises(asyncio.CancelledError):
        await caller
