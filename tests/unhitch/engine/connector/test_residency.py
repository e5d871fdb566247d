"""Memory is never filled beyond its bounds, nothing reserved leaves it, and whoever waits gets it in the end."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from tests.unhitch.engine.connector.conftest import HeaderOf
from unhitch.engine.connector.residency import Load, Residency, Status
from unhitch.states.file import StateHeader

POSITION = 10


@pytest.fixture
def headers(header_of: HeaderOf) -> dict[str, StateHeader]:
    """States named for their lengths: `a1` of one position to `f6` of six."""
    return {f"{name}{length}": header_of([length] * length) for length, name in enumerate("abcdef", start=1)}


def room_for(positions: int, workers: int = 1) -> Residency:
    return Residency(positions * POSITION, POSITION, workers)


def load(residency: Residency) -> tuple[list[str], list[str]]:
    """Has one worker do what it is told; what it dropped, and what it loaded."""
    evicted, loading = residency.commands()
    for state, serial in loading:
        residency.loaded(state, serial, residency._loads[state].header)
    return evicted, [state for state, _ in loading]


def status(load: Load) -> Status:
    return load.status


def reserve(residency: Residency, request: str, headers: dict[str, StateHeader], *states: str) -> list[Load]:
    return residency.reserve(request, {state: headers[state] for state in states})


def test_a_state_is_loaded_once_for_all_who_ask(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    [one], [other] = reserve(residency, "one", headers, "c3"), reserve(residency, "other", headers, "c3")
    assert one is other
    assert status(one) is Status.LOADING
    assert load(residency) == ([], ["c3"])
    assert status(one) is Status.RESIDENT
    assert load(residency) == ([], [])


def test_the_least_recently_used_leaves_first(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    for state in ("a1", "b2", "c3", "a1"):
        residency.release("one", reserve(residency, "one", headers, state))
        load(residency)
    reserve(residency, "one", headers, "d4")
    assert load(residency) == (["b2", "c3"], ["d4"])


def test_no_more_leave_than_must(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    for state in ("c3", "b2", "a1"):
        residency.release("one", reserve(residency, "one", headers, state))
        load(residency)
    residency.release("one", reserve(residency, "one", headers, "c3"))
    assert residency.reserve("one", {"new": headers["b2"]})
    assert load(residency) == (["b2"], ["new"])


def test_what_is_reserved_stays_and_the_next_one_waits(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    held = reserve(residency, "one", headers, "d4")
    load(residency)
    assert reserve(residency, "other", headers, "c3") == []
    assert residency.nbytes == 4 * POSITION
    residency.release("one", held)
    assert reserve(residency, "other", headers, "c3")
    assert load(residency) == (["d4"], ["c3"])


def test_what_two_have_reserved_stays_until_both_have_released_it(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    held = {request: reserve(residency, request, headers, "d4") for request in ("one", "two")}
    load(residency)
    residency.release("one", held["one"])
    assert reserve(residency, "other", headers, "c3") == []
    residency.release("two", held["two"])
    assert reserve(residency, "other", headers, "c3")


def test_several_are_reserved_together_or_not_at_all(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    reserve(residency, "one", headers, "c3")
    load(residency)
    assert reserve(residency, "other", headers, "b2", "d4") == []
    assert load(residency) == ([], [])
    assert reserve(residency, "third", headers, "b2", "a1")
    assert load(residency) == ([], ["b2", "a1"])


def test_room_for_a_state_is_not_made_of_one_that_it_is_reserved_with(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    residency.release("one", reserve(residency, "one", headers, "c3"))
    residency.release("one", reserve(residency, "one", headers, "b2"))
    load(residency)
    assert reserve(residency, "one", headers, "c3", "a1") != []
    assert reserve(residency, "two", headers, "c3", "d4") == []


def test_a_state_on_its_way_does_not_leave_though_nobody_waits_for_it(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    residency.release("one", reserve(residency, "one", headers, "d4"))
    assert reserve(residency, "other", headers, "c3") == []
    load(residency)
    assert reserve(residency, "other", headers, "c3")


def test_a_failed_load_tells_who_waits_and_the_next_begins_anew(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6, workers=2)
    [first] = reserve(residency, "one", headers, "c3")
    residency.loaded("c3", first.serial, headers["c3"])
    residency.failed("c3", first.serial, "it is damaged")
    assert (first.status, first.reason) == (Status.FAILED, "it is damaged")
    [again] = reserve(residency, "two", headers, "c3")
    assert (again.status, again.serial == first.serial) == (Status.LOADING, False)
    assert residency.commands()[0] == ["c3"]  # from the worker that did load it


def test_reports_of_an_earlier_attempt_do_not_count(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    [first] = reserve(residency, "one", headers, "c3")
    residency.failed("c3", first.serial, "it is damaged")
    [again] = reserve(residency, "one", headers, "c3")
    residency.loaded("c3", first.serial, headers["c3"])
    assert status(again) is Status.LOADING
    residency.failed("c3", first.serial, "it is damaged")
    assert status(again) is Status.LOADING
    residency.loaded("c3", again.serial, headers["c3"])
    assert status(again) is Status.RESIDENT


def test_a_worker_that_reads_another_file_than_the_scheduler_did(headers: dict[str, StateHeader]) -> None:
    residency = room_for(6)
    [found] = reserve(residency, "one", headers, "c3")
    residency.loaded("c3", found.serial, headers["b2"])
    assert (found.status, "another file" in found.reason) == (Status.FAILED, True)
    assert residency.nbytes == 0


@pytest.mark.parametrize("seed", range(30))
def test_whatever_is_asked_for_in_whatever_order(headers: dict[str, StateHeader], seed: int) -> None:
    """Requests of one or two states come, wait, get them and go; workers load, fail and drop as they are told."""
    chance = random.Random(seed)
    world = _World(room_for(chance.randint(6, 12), workers=2), headers, chance)
    for number in range(40):
        states = chance.sample(sorted(headers), chance.randint(1, 2))
        if sum(headers[state].positions for state in states) * POSITION <= world.residency.capacity:
            world.waiting[f"request {number}"] = states
        world.step(failures=0.1)
    for _ in range(200):
        world.step(failures=0.0)
        if not world.waiting and not world.served:
            break
    assert (world.waiting, world.served) == ({}, {})


class _World:
    """A scheduler's loop and two workers, around a residency."""

    def __init__(self, residency: Residency, headers: dict[str, StateHeader], chance: random.Random) -> None:
        self.residency = residency
        self.waiting: dict[str, Sequence[str]] = {}
        self.served: dict[str, list[Load]] = {}
        self._asked: dict[str, list[Load]] = {}
        self._headers = headers
        self._chance = chance
        self._held: list[dict[str, int]] = [{}, {}]
        self._reading: list[tuple[int, str, int]] = []

    def step(self, failures: float) -> None:
        for request in [request for request in self.served if self._chance.random() < 0.5]:
            self.residency.release(request, self.served.pop(request))
        for request, states in list(self.waiting.items()):
            self._ask(request, states)
        evicted, loading = self.residency.commands()
        self._reading = [job for job in self._reading if job[1] not in evicted]
        for worker, held in enumerate(self._held):
            for state in evicted:
                held.pop(state, None)
            self._reading += [(worker, state, serial) for state, serial in loading]
        self._work(failures)
        assert self.residency.nbytes <= self.residency.capacity
        for held in self._held:
            assert sum(self._headers[state].positions for state in held) * POSITION <= self.residency.capacity
        for loads in self.served.values():
            assert all(load.state in held for load in loads for held in self._held)

    def _ask(self, request: str, states: Sequence[str]) -> None:
        loads = self._asked.pop(request, []) or self.residency.reserve(
            request, {state: self._headers[state] for state in states}
        )
        if any(load.status is Status.FAILED for load in loads):
            self.residency.release(request, loads)
            del self.waiting[request]
        elif loads and all(load.status is Status.RESIDENT for load in loads):
            self.served[request] = loads
            del self.waiting[request]
        else:
            self._asked[request] = loads

    def _work(self, failures: float) -> None:
        done = [job for job in self._reading if self._chance.random() < 0.5]
        self._reading = [job for job in self._reading if job not in done]
        for worker, state, serial in done:
            if self._chance.random() < failures:
                self.residency.failed(state, serial, "it is damaged")
            else:
                self._held[worker][state] = serial
                self.residency.loaded(state, serial, self._headers[state])
