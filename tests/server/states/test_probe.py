from __future__ import annotations

import asyncio

import httpx
import pytest
from starlette.types import Send

from tests.server.conftest import Proxied
from tests.server.fake_connector import CHAT, FakeConnector, chat
from tests.server.fake_engine import ADAPTER, MODEL, FakeEngine, Recorded, completion, reply_json
from tests.server.states.conftest import ASK, PREFIX


def patched(engine: FakeEngine) -> list[Recorded]:
    return [each for each in engine.asked(CHAT) if (each.json.get("kv_transfer_params") or {}).get("unhitch")]


async def test_the_state_of_the_default_prefix_is_served_once_before_the_first_request(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    for _ in range(2):
        await client.get("/readyz")
    (probe,) = patched(engine)
    assert (probe.json["model"], probe.json["max_tokens"]) == (ADAPTER, 1)
    await client.post(CHAT, json=ASK, headers=PREFIX)
    assert len(patched(engine)) == 2


async def test_without_a_state_of_the_default_prefix_there_is_nothing_to_probe(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    assert (await client.get("/readyz")).status_code == 200
    assert not patched(engine)


async def unpatched(fake: FakeEngine, request: Recorded, send: Send) -> None:
    """An engine that has the connector, and serves states to nobody."""
    await reply_json(send, completion(request, fake))


@pytest.mark.parametrize("fault", ["unconfirmed", "header"])
async def test_a_probe_that_fails_fails_requests_for_states_and_no_others(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, fault: str
) -> None:
    if fault == "header":
        connector.header = None
    else:
        engine.routes[CHAT] = unpatched
    ready = (await client.get("/readyz")).json()
    assert ready["status"] == "ready"
    assert ready["states"][ADAPTER]["served"] is False
    assert ready["states"][MODEL] == {"served": True, "fitting": 0}
    asked = len(engine.asked(CHAT))
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code == 422
    assert "did not confirm" in answer.json()["error"]["message"]
    assert len(engine.asked(CHAT)) == asked, "nothing was generated"
    assert (await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": "bare"})).status_code == 200


async def test_a_probe_that_failed_is_made_again_in_time(
    connector: FakeConnector, proxied: Proxied, engine: FakeEngine
) -> None:
    engine.routes[CHAT] = unpatched
    async with proxied(recheck_seconds=0) as client:
        assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 422
        engine.routes[CHAT] = chat
        assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200


async def broken(fake: FakeEngine, request: Recorded, send: Send) -> None:
    """An engine that has no time for what names states."""
    if (request.json.get("kv_transfer_params") or {}).get("unhitch"):
        await reply_json(send, {"error": {"message": "overloaded"}}, 503)
    else:
        await chat(fake, request, send)


async def test_a_fault_that_may_pass_turns_states_off_for_nobody_who_comes_later(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.routes[CHAT] = broken
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code == 502
    assert "with 503 {'error': {'message': 'overloaded'}}" in answer.json()["error"]["message"]
    del engine.routes[CHAT]
    assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200


async def test_a_probe_that_takes_too_long_is_made_once_for_all_who_wait_and_again_for_the_next(
    connector: FakeConnector, proxied: Proxied, engine: FakeEngine
) -> None:
    async def hang(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if (request.json.get("kv_transfer_params") or {}).get("unhitch"):
            await asyncio.sleep(60)
        await chat(fake, request, send)

    engine.routes[CHAT] = hang
    async with proxied(probe_timeout_seconds=2.0) as client:
        answers = await asyncio.gather(*(client.post(CHAT, json=ASK, headers=PREFIX) for _ in range(5)))
        assert {answer.status_code for answer in answers} == {504}
        assert len(patched(engine)) <= 2  # at start, and for the five where that one had ended before
        del engine.routes[CHAT]
        assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200


async def test_a_state_that_is_larger_than_the_engines_memory_is_not_probed_with(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    connector.memory_bytes = 1
    assert (await client.get("/readyz")).json()["states"][ADAPTER]["served"] is True
    assert not patched(engine)


async def test_a_default_prefix_whose_state_is_damaged_speaks_against_no_other_state(
    connector: FakeConnector, client: httpx.AsyncClient
) -> None:
    connector.damaged.add(next(iter(connector.states)))
    assert (await client.get("/readyz")).json()["states"][ADAPTER]["served"] is True
    postfix = {"Unhitch-Mitigation": "postfix-state"}
    assert (await client.post(CHAT, json=ASK, headers=postfix)).status_code == 200
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code == 502
    assert "is damaged" in answer.json()["error"]["message"]
