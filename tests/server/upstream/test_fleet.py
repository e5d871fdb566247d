from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import AsyncExitStack

import httpx
import pytest

from tests.server.faults.bad_engine import CHAT, BadEngine, Wire, serving
from tests.server.faults.cases import HELLO, OFF, PERTURB, answers, fall_silent, half_an_answer, no_edit, reset
from tests.server.faults.front import proxied
from unhitch.errors import EngineUnavailable
from unhitch_server.config import Config
from unhitch_server.network import free_port
from unhitch_server.upstream.faults import NoConnection
from unhitch_server.upstream.fleet import Fleet
from unhitch_server.upstream.replica import Replica

HOSTS = [f"http://engine-{number}:8000" for number in range(5)]


def fleet(*urls: str) -> Fleet:
    return Fleet([Replica(Config(upstream=url)) for url in urls])


def homes(of: Fleet) -> dict[str, str]:
    return {f"s{number}": of.order(f"s{number}")[0].url for number in range(1000)}


@pytest.mark.parametrize("urls", [(), (HOSTS[0], HOSTS[0])])
def test_a_fleet_has_engines_and_each_once(urls: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="its own URL"):
        fleet(*urls)


def test_the_least_busy_engine_comes_first() -> None:
    engines = fleet(*HOSTS)
    for busy, replica in enumerate(engines.replicas):
        replica.under_way = (busy + 2) % 5
    assert [replica.under_way for replica in engines.order(None)] == [0, 1, 2, 3, 4]


def test_a_session_has_one_engine_and_sessions_are_spread() -> None:
    engines = fleet(*HOSTS)
    assert homes(engines) == homes(engines)
    assert min(Counter(homes(engines).values()).values()) > 150


def test_one_engine_more_moves_only_the_sessions_that_it_gets() -> None:
    before, after = homes(fleet(*HOSTS[:4])), homes(fleet(*HOSTS))
    moved = {session for session in before if before[session] != after[session]}
    assert {after[session] for session in moved} == {HOSTS[4]}
    assert len(moved) < 260


def test_an_unhealthy_engine_comes_last_and_an_open_one_not_at_all() -> None:
    engines = fleet(*HOSTS[:3])
    first, second, third = engines.order("s")
    first.healthy = False
    for _ in range(5):
        second.breaker.failed("refused")
    assert engines.order("s") == [third, first]


async def test_a_refused_connection_is_tried_on_another_engine() -> None:
    engine, nowhere = BadEngine(), f"http://127.0.0.1:{free_port()}"
    async with serving(engine), proxied(nowhere, engine.url) as running:
        for number in range(10):
            headers = {**PERTURB, "Unhitch-Session": f'"s{number}"'}
            assert (await running.client.post(CHAT, json=HELLO, headers=headers)).status_code == 200
        assert running.fleet.retried > 0
        assert len(engine.requests) == 10


@pytest.mark.parametrize("handler", [reset, half_an_answer, answers(502), answers(503)])
async def test_a_fault_before_the_first_byte_is_made_good_by_another_engine_with_the_same_prompt(
    handler: object,
) -> None:
    bad, good = BadEngine(handler), BadEngine()  # type: ignore[arg-type]
    async with serving(bad), serving(good), proxied(bad.url, good.url) as running:
        sent = set()
        while not bad.requests:
            answer = await running.client.post(CHAT, json=HELLO, headers={"Unhitch-Mitigation": "perturb"})
            assert answer.status_code == 200
            sent |= {request.body for request in (*bad.requests, *good.requests)}
        assert len(sent) == 1
        assert running.counters.mitigated == running.counters.requests


@pytest.mark.parametrize("headers", [OFF, PERTURB], ids=["off", "perturb"])
async def test_nothing_is_tried_again_once_the_client_has_a_byte(headers: dict[str, str]) -> None:
    engines = [BadEngine(fall_silent), BadEngine(fall_silent)]
    async with serving(engines[0]), serving(engines[1]), proxied(engines[0].url, engines[1].url) as running:
        answer = await running.client.post(CHAT, json={**HELLO, "stream": True}, headers=headers)
        assert "engine_timeout" in answer.text
        assert sum(len(engine.requests) for engine in engines) == 1


async def test_an_answer_that_was_not_confirmed_is_not_asked_for_again() -> None:
    engines = [BadEngine(no_edit), BadEngine(no_edit)]
    async with serving(engines[0]), serving(engines[1]), proxied(engines[0].url, engines[1].url) as running:
        assert (await running.client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 502
        assert sum(len(engine.requests) for engine in engines) == 1


async def attempts(error: EngineUnavailable) -> int:
    """How often the only engine of a fleet is tried."""
    lone, count = Fleet([Replica(Config(upstream=HOSTS[0]))], backoff_seconds=0.01), 0

    async def attempt(replica: Replica) -> None:
        nonlocal count
        count += 1
        raise error

    with pytest.raises(EngineUnavailable):
        await lone.serve(None, attempt, lambda: False)
    assert lone.replicas[0].under_way == 0
    return count


async def test_the_only_engine_is_tried_again_where_it_refused_the_connection() -> None:
    assert await attempts(NoConnection("refused")) == 3


async def test_the_only_engine_is_not_tried_again_where_it_may_have_seen_the_request() -> None:
    assert await attempts(EngineUnavailable("broke")) == 1


async def test_an_engine_that_fails_again_and_again_is_left_alone_and_then_tried() -> None:
    engine = BadEngine(reset)
    async with serving(engine), proxied(engine.url, failures=3, open_seconds=0.5) as running:

        async def post() -> httpx.Response:
            return await running.client.post(CHAT, json=HELLO, headers=OFF)

        assert [(await post()).status_code for _ in range(5)] == [503] * 5
        seen = len(engine.requests)
        left_alone = await post()
        assert "no engine is asked now" in left_alone.text
        assert left_alone.headers["retry-after"] == "1"
        assert len(engine.requests) == seen
        assert running.fleet.snapshot()[0]["breaker"] == "open"
        engine.handler = Wire.sound
        await asyncio.sleep(0.6)
        assert (await post()).status_code == 200
        assert running.fleet.snapshot()[0]["breaker"] == "closed"


async def test_a_client_that_leaves_gives_its_trial_back() -> None:
    async def hang(wire: Wire) -> None:
        await asyncio.sleep(60)

    engine = BadEngine(reset)
    async with serving(engine), proxied(engine.url, failures=1, open_seconds=0.2) as running:
        await running.client.post(CHAT, json=HELLO, headers=OFF)
        engine.handler = hang
        await asyncio.sleep(0.3)
        with pytest.raises(httpx.ReadTimeout):
            await running.client.post(CHAT, json=HELLO, headers=OFF, timeout=0.2)
        engine.handler = Wire.sound
        await asyncio.sleep(0.2)
        assert (await running.client.post(CHAT, json=HELLO, headers=OFF)).status_code == 200


async def test_an_engine_is_asked_how_it_is_and_its_recovery_is_seen() -> None:
    engine = BadEngine(health=503)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(serving(engine))
        running = await stack.enter_async_context(proxied(engine.url, health_seconds=0.05, open_seconds=60))
        replica = running.fleet.replicas[0]
        async with asyncio.timeout(5):
            while replica.healthy:
                await asyncio.sleep(0.02)
        assert (await running.client.post(CHAT, json=HELLO, headers=OFF)).status_code == 200, "the only one is asked"
        for _ in range(1000):
            replica.breaker.failed("x")
        engine.health = 200
        async with asyncio.timeout(5):
            while not replica.healthy or replica.breaker.state == "open":
                await asyncio.sleep(0.02)


async def test_no_task_outlives_the_fleet() -> None:
    before = asyncio.all_tasks()
    async with fleet(*HOSTS):
        assert len(asyncio.all_tasks()) == len(before) + len(HOSTS)
    assert asyncio.all_tasks() == before
