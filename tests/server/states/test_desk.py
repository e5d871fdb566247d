from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.types import Send

from tests.cards import TUNED, card, cards_for
from tests.server.conftest import Proxied
from tests.server.fake_connector import CHAT, COMPLETIONS, FakeConnector, hello, listing
from tests.server.fake_engine import ADAPTER, MODEL, FakeEngine, Recorded, reply_json, serving
from tests.server.states.conftest import ASK, BOTH, PREFIX
from unhitch.states.patch import STATES_ROUTE
from unhitch.states.recipe import Recipe
from unhitch_server.network import free_port
from unhitch_server.states import desk

EXPLAIN = "/unhitch/v1/explain"
NEVER = {"Unhitch-Mitigation": "prefix-state;capture=never"}


def message(answer: httpx.Response, status: int = 422) -> str:
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["code"] == "mitigation_unavailable"
    return str(answer.json()["error"]["message"])


async def test_an_engine_without_the_connector_says_how_to_start_it(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await client.get("/readyz")
    asked = len(engine.asked(CHAT))
    for mitigation in (PREFIX, BOTH, {"Unhitch-Mitigation": "postfix-state"}):
        said = message(await client.post(CHAT, json={**ASK, "model": MODEL}, headers=mitigation))
        assert "unhitch up --states DIR" in said
        assert "unhitch engine-options --states DIR" in said
    assert len(engine.asked(CHAT)) == asked
    bare = {"Unhitch-Mitigation": "bare"}
    assert (await client.post(CHAT, json={**ASK, "model": MODEL}, headers=bare)).status_code == 200


async def test_what_is_known_is_not_asked_again(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    for _ in range(5):
        assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    assert len(engine.asked(STATES_ROUTE)) <= 2  # at start, and by the first request where it came before


async def test_a_state_that_was_added_is_found_on_the_first_miss(
    bare_connector: FakeConnector, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ASKED_ANEW_SECONDS", 0.0)
    assert "as `capture=never` asks" in message(await client.post(CHAT, json=ASK, headers=NEVER))
    bare_connector.add(*cards_for(hello()))
    assert (await client.post(CHAT, json=ASK, headers=NEVER)).status_code == 200


async def test_a_crowd_that_misses_a_state_does_not_have_the_list_sent_again_and_again(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ASKED_ANEW_SECONDS", 60.0)
    for _ in range(5):
        assert "as `capture=never` asks" in message(await client.post(CHAT, json=ASK, headers=NEVER))
    assert len(engine.asked(STATES_ROUTE)) <= 2  # at start, and by the first request where it came before


async def test_a_list_of_a_thousand_states_is_served_from(connector: FakeConnector, client: httpx.AsyncClient) -> None:
    wanted = next(iter(connector.states))
    connector.add(*(card("prefix", [7] * 100 + [number]) for number in range(1000)))
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert f'state="{wanted}"' in answer.headers["Unhitch-Applied"]


async def test_a_state_that_lies_there_and_cannot_be_served_is_refused_in_the_engines_words(
    bare_connector: FakeConnector, client: httpx.AsyncClient
) -> None:
    state = "e" * 64
    bare_connector.problems.append({"file": f"{state}.safetensors", "message": "it has 3 layers, the model has 4"})
    asked = {"Unhitch-Mitigation": f'prefix-state;state="{state}"'}
    assert "it has 3 layers, the model has 4" in message(await client.post(CHAT, json=ASK, headers=asked))
    other = {"Unhitch-Mitigation": f'prefix-state;state="{"f" * 64}"'}
    said = message(await client.post(CHAT, json=ASK, headers=other))
    assert "3 layers" not in said
    assert "Leave `state` out" in said


async def test_a_listing_is_asked_for_anew_from_time_to_time(
    connector: FakeConnector, proxied: Proxied, engine: FakeEngine
) -> None:
    async with proxied(recheck_seconds=0) as client:
        for _ in range(3):
            assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    assert len(engine.asked(STATES_ROUTE)) >= 3


async def test_after_a_lost_engine_states_are_asked_for_anew(proxied: Proxied) -> None:
    port = free_port()
    async with proxied(upstream=f"http://127.0.0.1:{port}") as client:
        for number in range(2):
            fake = FakeEngine(connector=FakeConnector())
            assert fake.connector is not None
            fake.connector.add(*cards_for(hello(), made_with={"unhitch": str(number)}))
            async with serving(fake, port):
                answer = await client.post(CHAT, json=ASK, headers=PREFIX)
                assert f'state="{next(iter(fake.connector.states))}"' in answer.headers["Unhitch-Applied"]
            assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 503


async def test_a_recipe_that_is_missing_gets_the_command_that_makes_it(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ASKED_ANEW_SECONDS", 0.0)
    mixed = {"Unhitch-Mitigation": 'prefix-state;layers="1-2";mix=0.5'}
    body = {**ASK, "messages": [{"role": "system", "content": "Be kind."}, *ASK["messages"]]}
    said = message(await client.post(CHAT, json=body, headers=mixed))
    assert "no state at hand fits the prefix of this prompt" in said
    assert "Only states of all layers, k and v, are captured on first use." in said
    assert f"`unhitch capture {engine.root} --finetuned " in said
    assert "--states /var/states --layers 1-2 --mix 0.5 --system 'Be kind.'`." in said
    connector.add(*cards_for(hello(messages=body["messages"]), recipe=Recipe(layers=(1, 2), mix=0.5), finetuned=TUNED))
    assert (await client.post(CHAT, json=body, headers=mixed)).status_code == 200


async def test_a_model_that_is_no_adapter_is_not_captured_for(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "ASKED_ANEW_SECONDS", 0.0)
    said = message(await client.post(CHAT, json={**ASK, "model": MODEL}, headers=PREFIX))
    assert "is no adapter whose base the engine serves by name" in said
    bare_connector.base = "not-served"
    assert "is no adapter" in message(await client.post(CHAT, json=ASK, headers=PREFIX))
    assert not engine.asked(COMPLETIONS)


async def test_an_engine_without_overlays_serves_prefixes_only(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    connector.overlays = False
    assert "started without overlays" in message(await client.post(CHAT, json=ASK, headers=BOTH))
    assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    assert not engine.asked(COMPLETIONS)


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (500, {}, "answered 500"),
        (200, {"protocol": 1}, "no list of states"),
        (401, {}, "UNHITCH_UPSTREAM_API_KEY"),
        (200, {"protocol": 7}, "version 7"),
    ],
)
async def test_a_list_that_cannot_be_had_fails_the_requests_that_need_it_and_no_others(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, status: int, body: Any, said: str
) -> None:
    async def broken(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await reply_json(send, body, status)

    engine.routes[STATES_ROUTE] = broken
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code in (422, 502)
    assert said in answer.json()["error"]["message"]
    assert (await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": "bare"})).status_code == 200


async def test_a_list_that_takes_long_holds_up_nobody_who_needs_no_state(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    released = asyncio.Event()

    async def slow(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await released.wait()
        await listing(fake, request, send)

    engine.routes[STATES_ROUTE] = slow
    waiting = asyncio.create_task(client.post(CHAT, json=ASK, headers=PREFIX))
    bare = {"Unhitch-Mitigation": "bare"}
    assert (await client.post(CHAT, json=ASK, headers=bare, timeout=10)).status_code == 200
    assert not waiting.done()
    released.set()
    assert (await waiting).status_code == 200


async def test_a_dry_run_shows_the_patched_positions_and_captures_nothing(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    answer = (await client.post(EXPLAIN, json=ASK, headers=BOTH)).json()
    prefix, postfix = connector.states
    parts = {(token["part"], token["state"]) for token in answer["after"]}
    assert parts == {("prefix", prefix), ("user_header", prefix), ("query", None), ("postfix", postfix)}
    assert {token["state"] for token in answer["before"]} == {None}
    connector.states.clear()
    other = {**ASK, "messages": [{"role": "system", "content": "Be kind."}, *ASK["messages"]]}
    assert "would be captured on first use" in message(await client.post(EXPLAIN, json=other, headers=PREFIX))
    assert not engine.asked(COMPLETIONS)


async def test_ready_says_how_many_states_are_for_each_model(
    connector: FakeConnector, client: httpx.AsyncClient
) -> None:
    connector.add(*cards_for(hello(), finetuned="9" * 64))
    answer = (await client.get("/readyz")).json()
    assert answer["status"] == "ready"
    assert answer["states"] == {MODEL: {"served": True, "fitting": 0}, ADAPTER: {"served": True, "fitting": 2}}


async def test_an_engine_without_the_connector_is_not_ready_only_where_the_operator_needs_states(
    engine: FakeEngine, proxied: Proxied
) -> None:
    for settings, ready in (({}, True), ({"policies": {"strict": "bare, prefix-state"}}, False)):
        async with proxied(**settings) as client:
            answer = await client.get("/readyz")
            assert (answer.status_code == 200) == ready
            assert answer.json()["states"][MODEL]["served"] is False
            assert ("--states DIR" in answer.json()["problems"].get(MODEL, "")) != ready
