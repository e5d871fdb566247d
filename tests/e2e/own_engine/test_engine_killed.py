"""A real engine that is killed or hangs under load costs its requests an error each, and the proxy nothing."""

from __future__ import annotations

import asyncio
import gc
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import psutil
import pytest
import pytest_asyncio

from tests.real_engine import RealEngine
from tests.server.faults.clients import MEGABYTE, resident_bytes
from tests.server.faults.front import Running, proxied
from tests.server.faults.visits import ROUTES, Outcome, Visit, all_of, begun, go, visits
from unhitch_server.upstream.timeouts import Timeouts

PATIENT = Timeouts(first_byte_seconds=120, silence_seconds=60)
HANG_SECONDS = 4.0
SHORT_ANSWERS = [visit for visit in visits(tokens=24, endless=False) if not visit.stream]
RSS_BOUND = 16 * MEGABYTE


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealEngine]:
    async with RealEngine(tmp_path_factory.mktemp("killed")) as started:
        yield started


@dataclass
class Held:
    """What the proxy holds; it runs in this process."""

    connections: int
    tasks: int
    resident: int

    @classmethod
    def now(cls, engine: RealEngine) -> Held:
        gc.collect()
        peers = [each.raddr for each in psutil.Process().net_connections("tcp") if each.raddr]
        to_engine = sum(peer.port == engine.port for peer in peers)
        return cls(to_engine, len(asyncio.all_tasks()), resident_bytes())


@dataclass
class Aftermath:
    """What came of an engine's death in the middle of its work, and of its return."""

    before: dict[Visit, Outcome] = field(default_factory=dict)
    held_before: Held | None = None
    gone: float = 0.0
    under_way: list[Outcome] = field(default_factory=list)
    held_after: Held | None = None
    later: list[Outcome] = field(default_factory=list)
    later_seconds: float = 0.0
    status_dead: dict[str, Any] = field(default_factory=dict)
    served_again_seconds: float = 0.0
    again: dict[Visit, Outcome] = field(default_factory=dict)
    status_again: dict[str, Any] = field(default_factory=dict)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def aftermath(engine: RealEngine) -> Aftermath:
    seen = Aftermath()
    # Only the look at its health can have the engine asked again so soon.
    async with proxied(engine.url, timeouts=PATIENT, failures=5, open_seconds=600, health_seconds=0.3) as running:
        client = running.client
        seen.before = {outcome.visit: outcome for outcome in await all_of(client, SHORT_ANSWERS)}
        await all_of(client, visits(tokens=24))
        await asyncio.sleep(0.2)
        seen.held_before = Held.now(engine)

        seen.under_way = [Outcome(visit) for visit in visits()]
        asked = [asyncio.create_task(go(client, outcome)) for outcome in seen.under_way]
        await begun(seen.under_way)
        fresh = [Outcome(visit) for visit in visits()]
        asked += [asyncio.create_task(go(client, outcome)) for outcome in fresh]
        seen.under_way += fresh
        await asyncio.sleep(0.1)
        await engine.kill()
        seen.gone = time.monotonic()
        await asyncio.gather(*asked)

        since = time.monotonic()
        seen.later = await all_of(client, visits())
        seen.later_seconds = time.monotonic() - since
        seen.status_dead = await status_once(running, healthy=False)
        asked.clear()
        seen.held_after = Held.now(engine)

        shutil.rmtree(engine.states)
        await engine.start()
        since = time.monotonic()
        await status_once(running, healthy=True)
        # Until one request has been answered, the breaker lets no other through.
        while (await go(client, Outcome(SHORT_ANSWERS[-1]))).status != 200 and time.monotonic() - since < 30:
            await asyncio.sleep(0.1)
        seen.served_again_seconds = time.monotonic() - since
        seen.again = {outcome.visit: outcome for outcome in await all_of(client, SHORT_ANSWERS)}
        seen.status_again = await status_once(running, healthy=True)
    return seen


async def status_once(running: Running, *, healthy: bool) -> dict[str, Any]:
    """The status as soon as it says so of the engine."""
    async with asyncio.timeout(10):
        while True:
            told: dict[str, Any] = (await running.client.get("/unhitch/v1/status")).json()
            if told["upstreams"]["main"][0]["healthy"] is healthy:
                return told
            await asyncio.sleep(0.05)


@pytest.mark.asyncio(loop_scope="module")
async def test_an_engine_that_hangs_costs_each_request_its_timeout_and_serves_on_when_it_wakes(
    engine: RealEngine,
) -> None:
    short = Timeouts(first_byte_seconds=HANG_SECONDS, silence_seconds=HANG_SECONDS)
    async with proxied(engine.url, timeouts=PATIENT) as patient:
        before = {outcome.visit: outcome for outcome in await all_of(patient.client, SHORT_ANSWERS)}
    async with proxied(engine.url, timeouts=short) as running:
        await all_of(running.client, SHORT_ANSWERS)
        streams = [Outcome(visit) for visit in visits() if visit.stream]
        asked = [asyncio.create_task(go(running.client, outcome)) for outcome in streams]
        await begun(streams)
        engine.hang()
        stopped = time.monotonic()
        try:
            silent = [Outcome(visit) for visit in SHORT_ANSWERS]
            asked += [asyncio.create_task(go(running.client, outcome)) for outcome in silent]
            await asyncio.gather(*asked)
        finally:
            engine.go_on()
        ends = [outcome.ended - stopped for outcome in streams + silent]
        assert min(ends) > HANG_SECONDS - 1
        assert max(ends) < HANG_SECONDS + 1
        assert [(each.status, code_of(each)) for each in silent] == [(504, "engine_timeout")] * len(silent)
        assert [(each.status, code_of(each)) for each in streams] == [(200, "engine_timeout")] * len(streams)
        assert all(each.mitigated for each in streams)
        again = {outcome.visit: outcome for outcome in await all_of(running.client, SHORT_ANSWERS)}
        assert {visit: each.text for visit, each in again.items()} == {
            visit: each.text for visit, each in before.items()
        }
        assert await engine.working() == 0
        counted = running.counters
        assert (counted.under_way, counted.unmitigated) == (0, 0)


def code_of(outcome: Outcome) -> object:
    return None if outcome.error is None else outcome.error["code"]


def test_within_a_second_of_the_kill_every_client_has_an_answer_or_an_error(aftermath: Aftermath) -> None:
    assert max(outcome.ended for outcome in aftermath.under_way) - aftermath.gone < 1
    for outcome in aftermath.under_way:
        assert outcome.complete or outcome.error, (outcome.visit, outcome.status, outcome.body[-300:])
        assert outcome.status in (200, 502, 503)


def test_the_kill_hit_streams_of_every_route_in_their_middle(aftermath: Aftermath) -> None:
    cut = [outcome.visit for outcome in aftermath.under_way if outcome.status == 200 and outcome.error]
    assert {visit.route for visit in cut} == {*ROUTES}
    assert len({(visit.route, visit.mitigation) for visit in cut}) > 8


def test_whatever_came_before_the_kill_was_mitigated(aftermath: Aftermath) -> None:
    answered = [outcome for outcome in aftermath.under_way if outcome.status == 200]
    assert [outcome.visit for outcome in answered if not outcome.mitigated] == []


def test_while_the_engine_is_gone_everybody_is_told_so_at_once(aftermath: Aftermath) -> None:
    assert {(outcome.status, code_of(outcome)) for outcome in aftermath.later} == {(503, "engine_unavailable")}
    assert aftermath.later_seconds < 1


def test_the_status_says_that_the_engine_is_gone_and_left_alone(aftermath: Aftermath) -> None:
    (engine,) = aftermath.status_dead["upstreams"]["main"]
    assert (engine["healthy"], engine["breaker"], engine["under_way"]) == (False, "open", 0)
    assert aftermath.status_dead["requests"]["under_way"] == 0
    assert aftermath.status_dead["requests"]["failed"] > len(aftermath.later)


def test_the_proxy_holds_nothing_more_for_the_dead_engine(aftermath: Aftermath) -> None:
    before, after = aftermath.held_before, aftermath.held_after
    assert before is not None
    assert after is not None
    assert after.connections == 0
    assert after.tasks <= before.tasks
    assert after.resident - before.resident < RSS_BOUND


def test_a_new_engine_on_the_same_port_is_served_from_as_the_old_one_was(aftermath: Aftermath) -> None:
    for visit, outcome in aftermath.again.items():
        assert outcome.status == 200, (visit, outcome.body)
        assert outcome.mitigated, visit
        assert outcome.text == aftermath.before[visit].text, visit
    assert aftermath.served_again_seconds < 30
    (engine,) = aftermath.status_again["upstreams"]["main"]
    assert (engine["healthy"], engine["breaker"]) == (True, "closed")


def test_nothing_was_answered_unmitigated(aftermath: Aftermath) -> None:
    counted = aftermath.status_again["requests"]
    assert (counted["unmitigated"], counted["failed_open"], counted["under_way"]) == (0, 0, 0)
    sums = sum(counted[name] for name in ("mitigated", "off", "refused", "failed", "gone"))
    assert counted["requests"] == sums
