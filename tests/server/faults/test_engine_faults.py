"""Faults of an engine: the client gets what there is to say, nothing unmitigated, and nothing runs on."""

from __future__ import annotations

import asyncio

import pytest

from tests.server.faults.bad_engine import CHAT, SECRET, BadEngine, Wire, serving
from tests.server.faults.cases import CASES, HELLO, OFF, PERTURB, Case, answers, too_short_a_length
from tests.server.faults.clients import PATIENT
from tests.server.faults.front import proxied
from tests.server.faults.observing import observe


@pytest.mark.parametrize("mitigation", ["off", "perturb"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.fault)
async def test_a_fault_is_told_frees_the_engine_and_leaves_nothing_behind(case: Case, mitigation: str) -> None:
    engine = BadEngine()
    async with serving(engine), proxied(engine.url) as running:
        headers = OFF if mitigation == "off" else PERTURB
        assert (await running.client.post(CHAT, json=HELLO, headers=headers)).status_code == 200
        tasks, connections = len(asyncio.all_tasks()), engine.connections
        engine.handler = case.handler
        seen = await observe(running, engine, case, mitigation)
        assert (seen.status, seen.gets) == case.expected(mitigation)
        assert seen.free_seconds < 1
        assert running.counters.unmitigated == 0
        assert running.counters.under_way == 0
        assert mitigation == "off" or SECRET.encode() not in seen.body
        assert [replica.under_way for replica in running.fleet.replicas] == [0]
        engine.handler = Wire.sound
        assert (await running.client.post(CHAT, json=HELLO, headers=headers)).status_code == 200, "it goes on"
        await asyncio.sleep(0.1)
        assert len(asyncio.all_tasks()) <= tasks
        assert engine.connections <= connections


@pytest.mark.parametrize("status", [429, 500])
async def test_an_engines_own_error_is_not_sent_to_another_engine(status: int) -> None:
    engines = [BadEngine(answers(status)), BadEngine(answers(status))]
    async with serving(engines[0]), serving(engines[1]), proxied(engines[0].url, engines[1].url) as running:
        answer = await running.client.post(CHAT, json=HELLO, headers=PERTURB)
        assert (answer.status_code, answer.headers["x-engine"], answer.headers["retry-after"]) == (status, "yes", "7")
        assert answer.headers["unhitch-applied"].startswith("perturb")
        assert sum(len(engine.requests) for engine in engines) == 1


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_storm_of_errors_reaches_every_client_as_it_is(status: int) -> None:
    engine = BadEngine(answers(status))
    async with serving(engine), proxied(engine.url, timeouts=PATIENT, failures=5) as running:
        posts = [running.client.post(CHAT, json=HELLO, headers=PERTURB) for _ in range(100)]
        statuses = [answer.status_code for answer in await asyncio.gather(*posts)]
        assert statuses == [status] * 100
        assert len(engine.requests) == 100, "none is sent twice"
        assert running.counters.as_dict()["refused" if status == 429 else "failed"] == 100


async def test_bytes_behind_the_end_of_an_answer_are_never_another_ones() -> None:
    engine = BadEngine(too_short_a_length)
    async with serving(engine), proxied(engine.url) as running:
        assert (await running.client.post(CHAT, json=HELLO, headers=OFF)).status_code == 502
        engine.handler = Wire.sound
        for _ in range(3):
            assert (await running.client.post(CHAT, json=HELLO, headers=OFF)).json()["id"] == "chatcmpl-1"


async def test_a_second_answer_that_nobody_asked_for_is_never_another_ones() -> None:
    forged = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 13\r\n\r\n{"id":"evil"}'

    async def two(wire: Wire) -> None:
        await wire.sound()
        await asyncio.sleep(0.2)
        await wire.raw(forged)

    engine = BadEngine(two)
    async with serving(engine), proxied(engine.url) as running:
        await running.client.post(CHAT, json=HELLO, headers=OFF)
        await asyncio.sleep(0.4)
        engine.handler = Wire.sound
        for _ in range(3):
            assert (await running.client.post(CHAT, json=HELLO, headers=OFF)).json()["id"] == "chatcmpl-1"


async def test_request_ids_and_trace_context_go_through_both_ways() -> None:
    async def tracing(wire: Wire) -> None:
        await wire.whole(200, b"{}", "X-Request-Id: theirs", "traceparent: 00-ab-cd-01", "tracestate: a=1")

    sent = {"X-Request-Id": "mine", "traceparent": "00-12-34-01", "tracestate": "b=2", **OFF}
    engine = BadEngine(tracing)
    async with serving(engine), proxied(engine.url) as running:
        answer = await running.client.post(CHAT, json=HELLO, headers=sent)
        names = ("x-request-id", "traceparent", "tracestate")
        assert [engine.requests[0].header(name) for name in names] == ["mine", "00-12-34-01", "b=2"]
        assert [answer.headers[name] for name in names] == ["theirs", "00-ab-cd-01", "a=1"]
