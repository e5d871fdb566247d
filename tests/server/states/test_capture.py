from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.server.conftest import Proxied
from tests.server.fake_connector import CHAT, COMPLETIONS, FakeConnector, hello
from tests.server.fake_engine import MODEL, FakeEngine
from tests.server.states.conftest import ASK, BOTH, PREFIX
from unhitch.states.patch import STATES_ROUTE
from unhitch_server.states import capture


def asked(system: str) -> dict[str, Any]:
    return {**ASK, "messages": [{"role": "system", "content": system}, *ASK["messages"]]}


async def test_what_is_missing_is_captured_from_the_base_on_first_use(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    bare_connector.capture_seconds = 0.2
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code == 200, answer.text
    (request,) = engine.asked(COMPLETIONS)
    prompt = hello()
    assert request.json["model"] == MODEL
    assert request.json["prompt"] == list(prompt.prefix)
    member = request.json["kv_transfer_params"]["unhitch"]["capture"]
    assert (member["span"], member["start"], member["tokens"]) == ("prefix", 0, len(prompt.prefix))
    assert member["template"] == prompt.checkpoint.template_digest.hex()
    assert f'state="{next(iter(bare_connector.states))}"' in answer.headers["Unhitch-Applied"]
    await client.post(CHAT, json=ASK, headers=PREFIX)
    assert len(engine.asked(COMPLETIONS)) == 1


async def test_a_postfix_is_captured_behind_an_empty_query(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    assert (await client.post(CHAT, json=ASK, headers=BOTH)).status_code == 200
    prompt, (prefix, postfix) = hello(), engine.asked(COMPLETIONS)
    assert prefix.json["prompt"] == list(prompt.prefix)
    assert postfix.json["prompt"] == list(prompt.prefix + prompt.postfix)
    assert postfix.json["kv_transfer_params"]["unhitch"]["capture"]["start"] == len(prompt.prefix)


async def test_many_requests_at_once_wait_for_one_capture(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    bare_connector.capture_seconds = 0.3
    requests = [client.post(CHAT, json=asked(f"Be {word}."), headers=PREFIX) for word in ("kind", "brief") * 20]
    answers = await asyncio.gather(*requests)
    assert {answer.status_code for answer in answers} == {200}
    assert len(engine.asked(COMPLETIONS)) == 2
    assert len({answer.headers["Unhitch-Applied"] for answer in answers}) == 2


async def test_a_capture_goes_on_when_the_request_that_began_it_is_gone(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await client.get("/readyz")
    bare_connector.capture_seconds = 1.0
    with pytest.raises(httpx.TimeoutException):
        await client.post(CHAT, json=ASK, headers=PREFIX, timeout=0.5)
    assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    assert len(engine.asked(COMPLETIONS)) == 1


async def test_a_capture_may_stand_in_the_engines_queue_for_longer_than_a_probe(
    bare_connector: FakeConnector, proxied: Proxied, engine: FakeEngine
) -> None:
    bare_connector.queue_seconds = 3.0
    async with proxied(probe_timeout_seconds=2.0) as client:
        assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    assert len(engine.asked(COMPLETIONS)) == 1


async def test_a_capture_that_is_being_written_is_looked_for_ever_more_rarely(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    bare_connector.capture_seconds = 2.0
    assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    assert len(engine.asked(STATES_ROUTE)) <= 9  # at 0, 0.05, 0.15, 0.35, 0.75, 1.55 and 2.55 s, and twice before


async def test_a_capture_that_is_refused_says_why_and_how_to_make_the_state(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    bare_connector.refusal = 400, "the disk is full"
    answers = await asyncio.gather(*(client.post(CHAT, json=ASK, headers=PREFIX) for _ in range(5)))
    for answer in answers:
        said = answer.json()["error"]["message"]
        assert answer.status_code == 422
        assert "answered 400 'the disk is full'; its log says why" in said
        assert f"Make it: `unhitch capture {engine.root} --states /var/states`." in said
    bare_connector.refusal = None
    assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200, "it is tried again"


async def test_a_state_that_never_appears_is_given_up(
    bare_connector: FakeConnector, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capture, "WRITTEN_SECONDS", 0.3)
    bare_connector.capture_seconds = 60
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code == 422
    assert "lists no such state after" in answer.json()["error"]["message"]


async def test_what_strategies_edited_is_captured_as_it_stands(
    bare_connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    edited = {"Unhitch-Mitigation": "perturb;seed=1, prefix-state"}
    assert (await client.post(CHAT, json=ASK, headers=edited)).status_code == 200
    (request,) = engine.asked(COMPLETIONS)
    ids = engine.asked(CHAT)[-1].json["kv_transfer_params"]["prompt_token_ids"]
    assert request.json["prompt"] == ids[: len(request.json["prompt"])] != list(hello().prefix)
    bare_connector.refusal = 500, "x"
    other = {"Unhitch-Mitigation": "perturb;seed=2, prefix-state"}
    said = (await client.post(CHAT, json=ASK, headers=other)).json()["error"]["message"]
    assert "No command makes it, since strategies edited the tokens before." in said


async def test_no_more_states_are_captured_than_the_operator_allows(
    bare_connector: FakeConnector, proxied: Proxied, engine: FakeEngine
) -> None:
    async with proxied(most_states=1) as client:
        assert (await client.post(CHAT, json=asked("Be kind."), headers=PREFIX)).status_code == 200
        answer = await client.post(CHAT, json=asked("Be brief."), headers=PREFIX)
        assert answer.status_code == 422
        assert "with 1 states the engine has as many as may be" in answer.json()["error"]["message"]
        assert (await client.post(CHAT, json=asked("Be kind."), headers=PREFIX)).status_code == 200
    assert len(engine.asked(COMPLETIONS)) == 1
