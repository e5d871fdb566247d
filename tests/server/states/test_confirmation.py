from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.types import Send

from tests.server.conftest import Proxied
from tests.server.fake_connector import CHAT, FakeConnector, hello
from tests.server.fake_connector import chat as chat_route
from tests.server.fake_engine import FakeEngine, Recorded, begin_stream, event
from tests.server.states.conftest import ASK, BOTH, PREFIX
from unhitch.errors import MitigationUnavailable, MitigationUnconfirmed
from unhitch.states.patch import Patch
from unhitch_server.states.confirmation import (
    check_connector,
    check_patches,
    error_words,
    require_patchable,
    without_member,
)

PATCHES = (Patch(state="a" * 64, start=0, tokens=3), Patch(state="b" * 64, start=9, tokens=2))
SAID = [patch.model_dump() for patch in PATCHES]


@pytest.mark.parametrize("version", [None, "", "2", "1, 1", "x" * 9999])
def test_another_connector_than_ours_confirms_nothing(version: str | None) -> None:
    with pytest.raises(MitigationUnconfirmed, match="Unhitch-Connector") as caught:
        check_connector(version)
    assert len(caught.value.message) < 500
    check_connector("1")


@pytest.mark.parametrize(
    "params",
    [
        None,
        {},
        {"unhitch": None},
        {"unhitch": {"patches": []}},
        {"unhitch": {"patches": SAID[:1]}},
        {"unhitch": {"patches": [*SAID, {"state": "c" * 64, "start": 20, "tokens": 1}]}},
        {"unhitch": {"patches": [SAID[0] | {"tokens": 2}, SAID[1]]}},
        {"unhitch": {"patches": [SAID[0] | {"start": 1}, SAID[1]]}},
        {"unhitch": {"patches": [SAID[0] | {"state": "c" * 64}, SAID[1]]}},
        {"unhitch": {"patches": "yes"}},
        "unhitch",
    ],
)
def test_an_answer_must_confirm_just_the_patches_that_were_sent(params: object) -> None:
    with pytest.raises(MitigationUnconfirmed, match="withheld"):
        check_patches({"kv_transfer_params": params}, PATCHES)


def test_patches_are_confirmed_in_any_order() -> None:
    check_patches({"kv_transfer_params": {"unhitch": {"patches": SAID[::-1]}, "other": 1}}, PATCHES)


@pytest.mark.parametrize(
    ("params", "left"),
    [
        ('{"unhitch":{"patches":[]}}', "null"),
        ('{ "unhitch" : 1, "unhitch": 2 }', "null"),
        ('{"unhitch":1, "a": 1e2}', '{"a": 1e2}'),
        ('{"a": 1e2 , "unhitch":1}', '{"a": 1e2}'),
        ('{"a":1,  "unhitch":{"a":[2]},  "b" :2, "b":3}', '{"a":1,  "b" :2, "b":3}'),
        ('{"a":{"unhitch":1}}', '{"a":{"unhitch":1}}'),
        ("{}", "{}"),
        ("null", "null"),
    ],
)
def test_only_our_member_is_taken_out(params: str, left: str) -> None:
    text = '{"x" : 1e2,"kv_transfer_params": %s,"choices":[{"kv_transfer_params":{"unhitch":1}}], "x":2}\n'
    assert without_member(text % params) == text % left


@pytest.mark.parametrize("value", [0, 1, -1, "1", False])
def test_log_probabilities_of_the_prompt_cannot_be_had_beside_a_state(value: object) -> None:
    with pytest.raises(MitigationUnavailable, match="`prompt_logprobs` has the engine compute") as caught:
        require_patchable({"prompt_logprobs": value})
    assert caught.value.param == "prompt_logprobs"
    require_patchable({"prompt_logprobs": None, "logprobs": True, "top_logprobs": 3})


@pytest.mark.parametrize("value", [True, 1, "true", "yes"])
def test_beam_search_which_forgets_the_state_cannot_be_had_beside_one(value: object) -> None:
    with pytest.raises(MitigationUnavailable, match="`use_beam_search`"):
        require_patchable({"use_beam_search": value})
    require_patchable({"use_beam_search": False})


@pytest.mark.parametrize(
    ("body", "words"),
    [(b'{"error": {"message": "x"}}', "x"), (b"oops", "oops"), (b"\xff", "\ufffd"), (b'{"error": 1}', '{"error": 1}')],
)
def test_the_engines_words_are_found_in_any_answer(body: bytes, words: str) -> None:
    assert error_words(body) == words


async def test_the_engine_is_sent_the_patches_beside_the_ids(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    body = json.dumps(ASK)[:-1] + ', "kv_transfer_params": {"a" : 1e2}, "big":1e400}'
    answer = await client.post(CHAT, content=body, headers=BOTH)
    assert answer.status_code == 200, answer.text
    sent, prompt = engine.asked(CHAT)[-1], hello()
    prefix, postfix = connector.states
    params = sent.json["kv_transfer_params"]
    assert params["prompt_token_ids"] == list(prompt.token_ids)
    assert params["unhitch"] == {
        "patches": [
            {"state": prefix, "start": 0, "tokens": len(prompt.prefix)},
            {"state": postfix, "start": prompt.postfix_start, "tokens": len(prompt.postfix)},
        ]
    }
    assert b'"kv_transfer_params": {"a" : 1e2,"prompt_token_ids":[' in sent.body
    assert sent.body.count(b'"big":1e400') == 1


@pytest.mark.parametrize("others", [{}, {"do_remote_decode": True}])
async def test_an_answer_is_as_it_would_be_without_states_but_for_the_members_of_others(
    connector: FakeConnector, client: httpx.AsyncClient, others: dict[str, Any]
) -> None:
    connector.others = others
    plain = (await client.post(CHAT, json=ASK)).json()
    patched = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert patched.json() == plain | {"usage": patched.json()["usage"]}
    assert patched.json()["kv_transfer_params"] == (others or None)
    assert patched.json()["engine_field"] == 12345678901234567890123


async def test_an_answer_says_which_state_was_served(connector: FakeConnector, client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    state = next(iter(connector.states))
    assert f'state="{state}"' in answer.headers["Unhitch-Applied"]
    assert "states=(:" in answer.headers["Unhitch-Receipt"]
    assert "unhitch-connector" not in answer.headers
    again = await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": answer.headers["Unhitch-Applied"]})
    assert again.headers["Unhitch-Applied"] == answer.headers["Unhitch-Applied"]
    assert again.headers["Unhitch-Receipt"] == answer.headers["Unhitch-Receipt"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("header", [None, "2"])
async def test_an_answer_without_the_connectors_header_is_withheld(
    connector: FakeConnector, client: httpx.AsyncClient, stream: bool, header: str | None
) -> None:
    assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    connector.header = header
    answer = await client.post(CHAT, json={**ASK, "stream": stream}, headers=PREFIX)
    assert answer.status_code == 502
    assert answer.json()["error"]["code"] == "mitigation_unavailable"
    assert answer.headers["Unhitch-Applied"] == "off"
    assert "Hi." not in answer.text
    assert (await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": "bare"})).status_code == 200


@pytest.mark.parametrize("confirms", [[], [{"state": "e" * 64, "start": 0, "tokens": 24}], "?", None])
async def test_an_answer_that_confirms_other_patches_is_withheld(
    connector: FakeConnector, client: httpx.AsyncClient, confirms: Any
) -> None:
    assert (await client.post(CHAT, json=ASK, headers=PREFIX)).status_code == 200
    connector.confirms = confirms if confirms is not None else [{"state": "e" * 64, "start": 0, "tokens": 1}] * 2
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code == 502
    assert "withheld" in answer.json()["error"]["message"]
    assert "Hi." not in answer.text


async def test_a_stream_is_served_under_the_header_and_its_chunks_stay(
    connector: FakeConnector, client: httpx.AsyncClient
) -> None:
    answer = await client.post(CHAT, json={**ASK, "stream": True}, headers=PREFIX)
    assert answer.status_code == 200
    plain = await client.post(CHAT, json={**ASK, "stream": True})
    assert answer.text == plain.text
    assert "Hi." in answer.text


async def test_a_stream_is_not_held_back_once_something_was_generated(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await client.post(CHAT, json=ASK, headers=PREFIX)
    released = asyncio.Event()

    async def paused(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await begin_stream(send)
        ids = request.json["kv_transfer_params"]["prompt_token_ids"]
        opening = {"index": 0, "delta": {"role": "assistant", "content": ""}}
        await event(send, {"choices": [opening], "prompt_token_ids": ids})
        await event(send, {"choices": [{"index": 0, "delta": {"content": "first"}, "token_ids": [1]}]})
        await released.wait()
        await event(send, {"error": {"message": "out of memory"}})
        await send({"type": "http.response.body", "body": b""})

    engine.routes[CHAT] = paused
    async with client.stream("POST", CHAT, json={**ASK, "stream": True}, headers=PREFIX) as answer:
        lines = (line async for line in answer.aiter_lines() if line)
        assert "assistant" in await anext(lines)
        assert "first" in await anext(lines)
        released.set()
        assert "out of memory" in await anext(lines), "what comes later is the engine's to say"


async def test_a_stream_without_confirmed_ids_is_withheld_in_spite_of_the_header(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    async def other(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if not request.json.get("stream"):
            return await chat_route(fake, request, send)
        await begin_stream(send)
        await event(send, {"choices": [{"delta": {"content": "Hi."}}], "prompt_token_ids": [1]})
        await send({"type": "http.response.body", "body": b""})
        return None

    engine.routes[CHAT] = other
    answer = await client.post(CHAT, json={**ASK, "stream": True}, headers=PREFIX)
    assert answer.status_code == 502
    assert "Hi." not in answer.text


@pytest.mark.parametrize("field", [{"prompt_logprobs": 1}, {"use_beam_search": True}])
async def test_what_cannot_be_served_from_a_state_is_refused_before_it_is_sent(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, field: dict[str, Any]
) -> None:
    await client.post(CHAT, json=ASK, headers=PREFIX)
    asked = len(engine.asked(CHAT))
    answer = await client.post(CHAT, json=ASK | field, headers=PREFIX)
    assert answer.status_code == 422
    assert answer.json()["error"]["param"] == next(iter(field))
    assert len(engine.asked(CHAT)) == asked
    assert (await client.post(CHAT, json=ASK | field, headers={"Unhitch-Mitigation": "bare"})).status_code == 200


@pytest.mark.parametrize("mitigation", ["prefix-state", "bare"])
async def test_a_client_cannot_name_patches_itself_beside_a_mitigation(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, mitigation: str
) -> None:
    body = {**ASK, "kv_transfer_params": {"unhitch": {"patches": []}}}
    answer = await client.post(CHAT, json=body, headers={"Unhitch-Mitigation": mitigation})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "kv_transfer_params.unhitch"
    await client.post(CHAT, json=body)
    assert engine.asked(CHAT)[-1].json == body, "without a mitigation the bytes pass as they came"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", ["gone", "damaged"])
async def test_a_request_whose_state_went_says_why_and_others_go_on(
    connector: FakeConnector, client: httpx.AsyncClient, stream: bool, fault: str
) -> None:
    assert (await client.post(CHAT, json=ASK, headers=BOTH)).status_code == 200
    prefix, postfix = connector.states
    if fault == "gone":
        del connector.states[prefix]
    else:
        connector.damaged.add(prefix)
    answer = await client.post(CHAT, json={**ASK, "stream": stream}, headers=PREFIX)
    assert answer.status_code == 502
    error = answer.json()["error"]
    assert error["code"] == "mitigation_unavailable"
    assert prefix in error["message"]
    assert ("is not there" if fault == "gone" else "is damaged") in error["message"]
    others = await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": "postfix-state"})
    assert f'state="{postfix}"' in others.headers["Unhitch-Applied"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_that_is_not_the_states_leads_to_the_engines_log(
    connector: FakeConnector, client: httpx.AsyncClient, stream: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.post(CHAT, json=ASK, headers=PREFIX)
    monkeypatch.setattr(FakeConnector, "serves", lambda *_: False)
    answer = await client.post(CHAT, json={**ASK, "stream": stream}, headers=PREFIX)
    assert answer.status_code == 502
    assert "'Internal server error'" in answer.json()["error"]["message"]
    assert "see the engine's log" in answer.json()["error"]["message"]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_failure_names_the_request_as_the_engines_log_does(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, stream: bool
) -> None:
    await client.post(CHAT, json=ASK, headers=PREFIX)

    async def fail(fake: FakeEngine, request: Recorded, send: Send) -> None:
        headers = [(b"x-request-id", b"chatcmpl-7"), (b"unhitch-connector", b"1")]
        if not stream:
            await send({"type": "http.response.start", "status": 500, "headers": headers})
            return await send({"type": "http.response.body", "body": b'{"error": {"message": "oops"}}'})
        await begin_stream(send)
        ids = request.json["kv_transfer_params"]["prompt_token_ids"]
        opening = {"index": 0, "delta": {"role": "assistant", "content": ""}}
        await event(send, {"id": "chatcmpl-7", "choices": [opening], "prompt_token_ids": ids})
        await event(send, {"error": {"message": "oops"}})
        return await send({"type": "http.response.body", "body": b""})

    engine.routes[CHAT] = fail
    answer = await client.post(CHAT, json={**ASK, "stream": stream}, headers=PREFIX)
    assert answer.status_code == 502
    assert "'oops'" in answer.json()["error"]["message"]
    assert "see the engine's log at the request 'chatcmpl-7'." in answer.json()["error"]["message"]


async def test_a_failure_of_a_state_that_is_larger_than_the_engines_memory_says_so(
    connector: FakeConnector, client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector.memory_bytes = 1
    await client.get("/readyz")
    monkeypatch.setattr(FakeConnector, "serves", lambda *_: False)
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert answer.status_code == 502
    nbytes = connector.states[next(iter(connector.states))].header.nbytes()
    assert f"has {nbytes} bytes, and states may take 1 in each" in answer.json()["error"]["message"]
    assert "larger `memory_gib`" in answer.json()["error"]["message"]


async def test_the_engines_500_to_a_request_without_states_stays_its_own(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    bare = {"Unhitch-Mitigation": "bare"}
    await client.post(CHAT, json=ASK, headers=bare)

    async def broken(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await send({"type": "http.response.start", "status": 500, "headers": []})
        await send({"type": "http.response.body", "body": b"broken"})

    engine.routes[CHAT] = broken
    answer = await client.post(CHAT, json=ASK, headers=bare)
    assert (answer.status_code, answer.content) == (500, b"broken")


async def test_a_refusal_of_the_engines_stays_its_own_in_spite_of_states(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await client.post(CHAT, json=ASK, headers=PREFIX)

    async def refuse(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await send({"type": "http.response.start", "status": 400, "headers": []})
        await send({"type": "http.response.body", "body": b"too long"})

    engine.routes[CHAT] = refuse
    answer = await client.post(CHAT, json=ASK, headers=PREFIX)
    assert (answer.status_code, answer.content) == (400, b"too long")


async def test_a_default_of_states_holds_without_a_header(
    connector: FakeConnector, proxied: Proxied, engine: FakeEngine
) -> None:
    async with proxied(mitigation="prefix-state") as client:
        assert "prefix-state" in (await client.post(CHAT, json=ASK)).headers["Unhitch-Applied"]
