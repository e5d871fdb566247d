"""Faults of engine, scorer and client: nothing is returned unrated or unconfirmed, and nothing runs on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import httpx
import pytest
from starlette.types import Send

from tests.cards import cards_for
from tests.server.best_of.asking import ASK, CHAT, FOUR, GOOD, error_of, four, receipt, seeds, sent_ids
from tests.server.conftest import Proxied
from tests.server.fake_connector import FakeConnector, hello
from tests.server.fake_engine import ADAPTER, MODEL, FakeEngine, Recorded, completion, reply, reply_json


async def test_a_scorer_that_fails_has_nothing_returned(client: httpx.AsyncClient) -> None:
    hello = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}  # none of the exact judge's questions
    answer = await client.post(CHAT, json=hello, headers=FOUR)
    assert answer.status_code == 502
    assert error_of(answer)["code"] == "mitigation_unavailable"
    assert "exact" in error_of(answer)["message"]
    assert "Hi." not in answer.text
    assert answer.headers["Unhitch-Applied"] == "off"


async def test_nothing_is_generated_for_a_scorer_that_cannot_rate(proxied: Proxied, engine: FakeEngine) -> None:
    settings = {"scorer": "rated", "scorer_url": f"{engine.url}/v1", "scorer_model": "no-such-model"}

    async def no_such_model(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if request.json["model"] == MODEL:
            return await reply_json(send, completion(request, fake))
        return await reply_json(send, {"error": {"message": "no such model", "code": 404}}, 404)

    engine.routes[CHAT] = no_such_model
    async with proxied(**settings) as client:
        await client.get("/readyz")
        engine.requests.clear()
        answer = await client.post(CHAT, json=ASK, headers=FOUR)
        assert answer.status_code == 502
        assert "no-such-model" in error_of(answer)["message"]
        assert all(request.json["model"] != MODEL for request in engine.asked(CHAT))


async def refuse(fake: FakeEngine, request: Recorded, send: Send, *, of: Sequence[list[int]], status: int) -> None:
    """Refuses the second draw at once; the others would take a minute."""
    if of.index(sent_ids(request)) != 1:
        await asyncio.sleep(60)
    await reply(send, status, b'{"error": {"message": "too long",  "code": 400}}')


@pytest.mark.parametrize("status", [400, 404, 500, 503])
async def test_an_error_of_the_engines_own_ends_all_draws_and_reaches_the_client_as_it_is(
    client: httpx.AsyncClient, engine: FakeEngine, status: int
) -> None:
    of = await four(client)

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await refuse(fake, request, send, of=of, status=status)

    engine.routes[CHAT] = handler
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert (answer.status_code, answer.content) == (status, b'{"error": {"message": "too long",  "code": 400}}')
    assert seeds(answer) == [6]
    assert "tried" not in receipt(answer)
    await cancelled(engine, 3)


async def cancelled(engine: FakeEngine, count: int) -> None:
    async with asyncio.timeout(5):
        while engine.cancelled < count:
            await asyncio.sleep(0.02)
    assert engine.cancelled == count


async def test_a_client_that_leaves_has_all_draws_cancelled(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    async def hang(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await asyncio.sleep(60)

    engine.routes[CHAT] = hang
    with pytest.raises(httpx.TimeoutException):
        await client.post(CHAT, json=ASK, headers=FOUR, timeout=1.0)
    await cancelled(engine, 4)


async def test_one_draw_that_is_not_confirmed_withholds_all(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    of = await four(client)

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        answer = completion(request, fake)
        answer["choices"][0]["message"]["content"] = GOOD
        if of.index(sent_ids(request)) == 3:
            answer["prompt_token_ids"] = [1, 2, 3]
        await reply_json(send, answer)

    engine.routes[CHAT] = handler
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert answer.status_code == 502
    assert error_of(answer)["code"] == "mitigation_unavailable"
    assert GOOD not in answer.text


@pytest.mark.parametrize("status", [201, 307])
async def test_a_status_that_confirms_nothing_withholds_all(
    client: httpx.AsyncClient, engine: FakeEngine, status: int
) -> None:
    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await reply_json(send, completion(request, fake), status)

    engine.routes[CHAT] = handler
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert answer.status_code == 502
    assert "choices" not in answer.text


async def test_a_stream_that_nobody_asked_for_is_withheld(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await reply(send, 200, json.dumps(completion(request, fake)).encode(), b"text/event-stream")

    engine.routes[CHAT] = handler
    assert (await client.post(CHAT, json=ASK, headers=FOUR)).status_code == 502


async def test_an_engine_that_breaks_off_one_draw_fails_the_request(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    of = await four(client)

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if of.index(sent_ids(request)) == 2:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"100")]})
            await send({"type": "http.response.body", "body": b"{", "more_body": True})
            raise ConnectionResetError
        await reply_json(send, completion(request, fake))

    engine.routes[CHAT] = handler
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert answer.status_code in {502, 503}
    assert error_of(answer)["code"] in {"engine_error", "engine_unavailable"}


async def test_an_answer_without_a_choice_is_an_error_of_the_engine(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await reply_json(send, completion(request, fake) | {"choices": []})

    engine.routes[CHAT] = handler
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert (answer.status_code, error_of(answer)["code"]) == (502, "engine_error")


async def test_an_error_that_comes_with_status_200_is_forwarded_as_it_is(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    own = b'{"error":  {"message": "out of memory"}}'

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await reply(send, 200, own)

    engine.routes[CHAT] = handler
    assert (await client.post(CHAT, json=ASK, headers=FOUR)).content == own


STATES = {"Unhitch-Mitigation": "best-of;n=3, perturb;span=postfix;edits=3;seed=1, prefix-state"}


async def test_draws_whose_prefix_a_state_serves_are_confirmed_each(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.connector = FakeConnector()
    engine.connector.add(*cards_for(hello()))
    count = len(engine.asked(CHAT))
    answer = await client.post(CHAT, json=ASK | {"model": ADAPTER}, headers=STATES)
    assert answer.status_code == 200, answer.text
    assert "prefix-state" in answer.headers["Unhitch-Applied"]
    assert {"states", "tried"} <= receipt(answer).keys()
    assert answer.json()["kv_transfer_params"] is None
    patched = [request for request in engine.asked(CHAT)[count:] if "unhitch" in request.json["kv_transfer_params"]]
    assert len({tuple(sent_ids(request)) for request in patched}) >= 3
    engine.connector.confirms = []
    withheld = await client.post(CHAT, json=ASK | {"model": ADAPTER}, headers=STATES)
    assert withheld.status_code == 502
    assert error_of(withheld)["code"] == "mitigation_unavailable"


async def test_a_draw_that_the_engine_fails_for_its_state_gets_the_reason(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.connector = FakeConnector()
    engine.connector.add(*cards_for(hello()))
    assert (await client.post(CHAT, json=ASK | {"model": ADAPTER}, headers=STATES)).status_code == 200
    engine.connector.damaged.update(engine.connector.states)
    answer = await client.post(CHAT, json=ASK | {"model": ADAPTER}, headers=STATES)
    assert answer.status_code == 502
    assert "damaged" in error_of(answer)["message"]
