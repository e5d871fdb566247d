import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.access.conftest import Clock
from unhitch.errors import Overloaded, RateLimited, TooManyAtOnce
from unhitch_server.access.caller import ANYONE, Caller
from unhitch_server.access.limits import Limits


def caller(per_minute: int | None = None, concurrent: int | None = None, identity: str = "1") -> Caller:
    return Caller("a", per_minute=per_minute, concurrent=concurrent, identity=identity)


def passes(limits: Limits, who: Caller) -> bool:
    try:
        with limits.slot(who):
            return True
    except RateLimited:
        return False


def test_a_minutes_requests_may_come_at_once_and_then_one_by_one(clock: Clock) -> None:
    limits, who = Limits(clock=clock), caller(per_minute=6)
    assert [passes(limits, who) for _ in range(7)] == [True] * 6 + [False]
    clock.now += 9.9
    assert not passes(limits, who)
    clock.now += 0.2
    assert [passes(limits, who) for _ in range(2)] == [True, False]


def test_retry_after_is_when_the_next_request_may_come(clock: Clock) -> None:
    limits, who = Limits(clock=clock), caller(per_minute=4)
    for _ in range(4):
        assert passes(limits, who)
    clock.now += 0.5
    with pytest.raises(RateLimited) as caught, limits.slot(who):
        pass
    assert list(caught.value.headers) == [(b"retry-after", b"15")]
    assert (caught.value.status, caught.value.code) == (429, "rate_limit_exceeded")
    clock.now += 15
    assert passes(limits, who)


@given(st.integers(1, 1000), st.lists(st.floats(0, 5), max_size=60))
def test_over_any_time_there_are_no_more_requests_than_the_first_burst_and_the_rate(
    per_minute: int, pauses: list[float]
) -> None:
    clock = Clock()
    limits, who, passed = Limits(clock=clock), caller(per_minute=per_minute), 0
    for pause in pauses:
        clock.now += pause
        passed += passes(limits, who)
    assert passed <= per_minute + sum(pauses) * per_minute / 60 + 1e-6


@given(st.integers(1, 1000), st.floats(0, 1e6))
def test_whoever_waits_as_long_as_is_said_gets_in(per_minute: int, start: float) -> None:
    clock = Clock()
    clock.now += start
    limits, who = Limits(clock=clock), caller(per_minute=per_minute)
    while passes(limits, who):
        pass
    with pytest.raises(RateLimited) as caught, limits.slot(who):
        pass
    clock.now += int(dict(list(caught.value.headers))[b"retry-after"])
    assert passes(limits, who)


def test_a_changed_rate_holds_from_the_next_request_on(clock: Clock) -> None:
    limits = Limits(clock=clock)
    assert passes(limits, caller(per_minute=100))
    assert [passes(limits, caller(per_minute=2)) for _ in range(3)] == [True, True, False]


def test_keys_have_their_limits_apart(clock: Clock) -> None:
    limits = Limits(clock=clock)
    assert passes(limits, caller(per_minute=1, identity="1"))
    assert passes(limits, caller(per_minute=1, identity="2"))
    assert not passes(limits, caller(per_minute=1, identity="1"))


def test_more_at_once_than_the_key_has_are_refused_until_one_ends(clock: Clock) -> None:
    limits, who = Limits(clock=clock), caller(concurrent=2)
    with limits.slot(who):
        with limits.slot(who), pytest.raises(TooManyAtOnce, match="2 requests under way") as caught, limits.slot(who):
            pass
        assert (caught.value.status, list(caught.value.headers)) == (429, [(b"retry-after", b"1")])
        assert passes(limits, who)


def test_a_request_refused_for_too_many_at_once_costs_none_of_the_minute(clock: Clock) -> None:
    limits, who = Limits(clock=clock), caller(per_minute=2, concurrent=1)
    with limits.slot(who), pytest.raises(TooManyAtOnce), limits.slot(who):
        pass
    assert [passes(limits, who) for _ in range(2)] == [True, False]


def test_over_all_callers_no_more_are_under_way_than_allowed(clock: Clock) -> None:
    limits = Limits(1, clock)
    with limits.slot(caller(identity="1")), pytest.raises(Overloaded) as caught, limits.slot(ANYONE):
        pass
    assert (caught.value.status, list(caught.value.headers)) == (503, [(b"retry-after", b"1")])
    assert passes(limits, ANYONE)


async def test_places_are_given_back_when_clients_leave_and_when_requests_fail(clock: Clock) -> None:
    limits, who = Limits(100, clock), caller(concurrent=100)

    async def fails() -> None:
        with limits.slot(who):
            raise ValueError

    async def hangs() -> None:
        with limits.slot(who):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(work()) for work in (fails, hangs) * 50]
    await asyncio.sleep(0)
    assert limits.under_way == 50
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert limits.under_way == 0
    assert passes(limits, who)


def test_what_a_deleted_key_used_is_forgotten_once_its_requests_ended(clock: Clock) -> None:
    limits = Limits(clock=clock)
    with limits.slot(caller(identity="gone")):
        assert passes(limits, caller(identity="kept"))
        limits.keep(["kept"])
        assert set(limits._meters) == {"gone", "kept"}
    limits.keep(["kept"])
    assert set(limits._meters) == {"kept"}


def test_callers_without_keys_leave_no_trace(clock: Clock) -> None:
    limits = Limits(clock=clock)
    assert passes(limits, ANYONE)
    assert not limits._meters
