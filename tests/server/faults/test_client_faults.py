"""Faults of clients: those that leave have the engine stopped; those that do not read are waited for, then dropped."""

from __future__ import annotations

import asyncio
import gc
import time

import httpx
import pytest

from tests.server.faults.bad_engine import CHAT, BadEngine, Wire, serving
from tests.server.faults.cases import HELLO, OFF, PERTURB, fall_silent, hang
from tests.server.faults.clients import PATIENT, at_random, crowd, resident_bytes, stalled_client, two_hundred_megabytes
from tests.server.faults.front import proxied
from tests.server.faults.observing import free
from unhitch_server.upstream.timeouts import Timeouts

MEGABYTE = 2**20


@pytest.mark.parametrize("headers", [OFF, PERTURB], ids=["off", "perturb"])
@pytest.mark.parametrize(
    ("handler", "stream"),
    [(hang, False), (hang, True), (fall_silent, True)],
    ids=["plain", "before the first token", "after it"],
)
async def test_a_client_that_leaves_has_the_engine_stopped(
    handler: object, headers: dict[str, str], *, stream: bool
) -> None:
    engine = BadEngine()
    async with serving(engine), proxied(engine.url, timeouts=PATIENT) as running:
        await running.client.post(CHAT, json=HELLO, headers=headers)
        engine.handler = handler  # type: ignore[assignment]
        with pytest.raises(httpx.ReadTimeout):
            await running.client.post(CHAT, json={**HELLO, "stream": stream}, headers=headers, timeout=0.5)
        assert await free(engine) < 1
        assert running.counters.gone == 1
        assert [replica.under_way for replica in running.fleet.replicas] == [0]


async def test_five_hundred_clients_that_leave_at_random_leave_nothing_behind() -> None:
    engine = BadEngine()
    async with serving(engine), proxied(engine.url, timeouts=PATIENT) as running:
        await running.client.post(CHAT, json=HELLO, headers=PERTURB)
        tasks, connections = len(asyncio.all_tasks()), engine.connections
        engine.handler = at_random

        outcomes = await crowd(running, 500)
        assert {type(outcome) for outcome in outcomes} == {TimeoutError}
        assert len(engine.requests) > 100
        assert await free(engine) < 1
        await asyncio.sleep(0.3)
        assert engine.connections <= connections
        assert len(asyncio.all_tasks()) <= tasks
        assert [replica.under_way for replica in running.fleet.replicas] == [0]
        counted = running.counters
        assert (counted.under_way, counted.unmitigated, counted.failed) == (0, 0, 0)
        assert counted.requests == counted.mitigated + counted.gone


@pytest.mark.parametrize("headers", [OFF, PERTURB], ids=["off", "perturb"])
async def test_a_client_that_stops_reading_costs_no_memory_and_is_dropped(headers: dict[str, str]) -> None:
    engine = BadEngine()
    async with serving(engine), proxied(engine.url, timeouts=PATIENT, write_seconds=3) as running:
        await running.client.post(CHAT, json=HELLO, headers=headers)
        engine.handler = two_hundred_megabytes
        gc.collect()
        before = resident_bytes()
        with stalled_client(running, headers):
            since = time.monotonic()
            await asyncio.sleep(2)
            assert engine.running == 1, "the engine is held back, not cut off"
            assert resident_bytes() - before < 20 * MEGABYTE
            assert await free(engine, limit=10) < 8
            assert 2 < time.monotonic() - since < 7
        await asyncio.sleep(0.1)
        assert running.counters.gone == 1
        assert running.counters.under_way == 0


async def test_a_client_that_reads_slowly_gets_everything() -> None:
    async def four_megabytes(wire: Wire) -> None:
        await wire.first_event()
        for _ in range(64):
            await wire.event("x" * 65_000)
        await wire.raw(b"0\r\n\r\n")

    engine = BadEngine(four_megabytes)
    short = Timeouts(first_byte_seconds=5, silence_seconds=0.5)
    async with serving(engine), proxied(engine.url, timeouts=short, write_seconds=2) as running:
        size = 0
        async with running.client.stream("POST", CHAT, json={**HELLO, "stream": True}, headers=PERTURB) as answer:
            async for part in answer.aiter_raw():
                size += len(part)
                await asyncio.sleep(0.02)
        assert size > 64 * 65_000
        assert running.counters.as_dict()["mitigated"] == 1
