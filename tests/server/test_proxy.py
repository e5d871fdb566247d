import asyncio
import json
from typing import Any

import httpx
import pytest
from starlette.types import Send

from tests.server.asking import CHAT, HELLO, PERTURB, answering, error_of
from tests.server.conftest import Proxied
from tests.server.fake_engine import (
    MODEL,
    FakeEngine,
    Recorded,
    begin_stream,
    completion,
    event,
    reply_json,
    serving,
)
from unhitch_server.network import free_port


async def test_off_sends_the_bytes_as_they_came(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = b'{"model" : "mini-base","x":1e2, "x":123456789012345678901234567890,"messages":[ ]}\n'
    await client.post(f"{CHAT}?a=%2f&b", content=body, headers={"X-Mine": "yes", "Unhitch-Session": '"s"'})
    (request,) = engine.asked(f"{CHAT}?a=%2f&b")
    assert request.body == body
    assert request.header("x-mine") == "yes"


async def test_no_header_of_ours_and_no_hop_by_hop_header_travels_upstream(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    own = {"Unhitch-Mitigation": "off", "Unhitch-Session": '"s"', "Connection": "X-Hop", "X-Hop": "1", "TE": "trailers"}
    await client.post("/v1/embeddings", json={}, headers=own)
    (request,) = engine.asked("/v1/embeddings")
    names = {name.decode() for name, _ in request.headers}
    assert not {name for name in names if name.startswith("unhitch")}
    assert not names & {"x-hop", "te"}


async def test_every_answer_says_what_was_applied(client: httpx.AsyncClient) -> None:
    answers = [
        await client.get("/v1/models"),
        await client.get("/nowhere"),
        await client.post(CHAT, json=HELLO, headers={"Unhitch-Mitigation": "nope"}),
        await client.get("/healthz"),
        await client.get("/unhitch/v1/strategies"),
    ]
    assert [answer.headers.get("Unhitch-Applied") for answer in answers] == ["off"] * 5


async def test_other_generating_routes_are_refused_when_a_mitigation_is_asked_for(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    for path in ("/v1/chat/completions/batch", "//v1/chat/completions", "/v1/chat/completions/", "/invocations"):
        answer = await client.post(path, json=HELLO, headers=PERTURB)
        assert answer.status_code == 422
        assert error_of(answer)["code"] == "mitigation_unavailable"
        assert not engine.asked(path)


async def test_a_default_mitigation_holds_where_no_header_comes(proxied: Proxied, engine: FakeEngine) -> None:
    async with proxied(mitigation="bare") as client:
        assert (await client.post(CHAT, json=HELLO)).headers["Unhitch-Applied"].startswith("bare;")
        assert (await client.get("/v1/models")).status_code == 200
        assert (await client.post("/v1/completions", json={"prompt": "x"})).status_code == 422
        off = await client.post(CHAT, json=HELLO, headers={"Unhitch-Mitigation": "off"})
        assert off.headers["Unhitch-Applied"] == "off"


async def test_an_engine_that_is_down_is_a_503_with_what_to_check(client: httpx.AsyncClient, proxied: Proxied) -> None:
    async with proxied(upstream="http://127.0.0.1:9") as down:
        for headers in ({}, PERTURB):
            answer = await down.post(CHAT, json=HELLO, headers=headers)
            assert answer.status_code == 503
            assert error_of(answer)["code"] == "engine_unavailable"
            assert "127.0.0.1:9" in error_of(answer)["message"]


async def test_an_unknown_model_is_a_404_that_lists_the_models(client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json={**HELLO, "model": "gpt-9"}, headers=PERTURB)
    assert answer.status_code == 404
    assert error_of(answer)["code"] == "model_not_found"
    assert MODEL in error_of(answer)["message"]


async def test_an_oversized_body_is_a_413_and_reaches_nobody(proxied: Proxied, engine: FakeEngine) -> None:
    async with proxied(max_body_bytes=1000) as client:

        async def endless() -> Any:
            for _ in range(100):
                yield b"x" * 100

        for content in (b"x" * 1001, endless()):
            answer = await client.post("/v1/completions", content=content)
            assert answer.status_code == 413
            assert error_of(answer)["code"] == "body_too_large"
            assert "1000" in error_of(answer)["message"]
        assert (await client.post("/v1/completions", content=b"x" * 1000)).status_code == 404
    assert len(engine.asked("/v1/completions")) == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"messages": 3}', b'{"model": 3, "messages": []}'])
async def test_a_malformed_body_is_a_400(client: httpx.AsyncClient, engine: FakeEngine, body: bytes) -> None:
    answer = await client.post(CHAT, content=body, headers=PERTURB)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_body"


async def stream_until_cut(fake: FakeEngine, request: Recorded, send: Send) -> None:
    if not request.json.get("stream"):
        return await reply_json(send, completion(request, fake))
    await begin_stream(send)
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi."}}]}
    await event(send, {**chunk, "prompt_token_ids": completion(request, fake)["prompt_token_ids"]})
    raise ConnectionResetError


@pytest.mark.parametrize("headers", [{}, PERTURB])
async def test_a_stream_that_breaks_ends_with_an_error_event(
    client: httpx.AsyncClient, engine: FakeEngine, headers: dict[str, str]
) -> None:
    engine.routes[CHAT] = stream_until_cut
    answer = await client.post(CHAT, json={**HELLO, "stream": True}, headers=headers)
    last = answer.text.strip().rpartition("data: ")[2]
    assert json.loads(last)["error"]["code"] in {"engine_error", "engine_unavailable"}
    assert "Hi." in answer.text


async def hang(fake: FakeEngine, request: Recorded, send: Send) -> None:
    if request.json.get("max_tokens") == 1:
        return await reply_json(send, completion(request, fake))  # the probe
    if request.json.get("stream"):
        await begin_stream(send)
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi."}}]}
        await event(send, {**chunk, "prompt_token_ids": completion(request, fake)["prompt_token_ids"]})
    await asyncio.sleep(60)
    return None


@pytest.mark.parametrize("headers", [{}, PERTURB])
@pytest.mark.parametrize("stream", [False, True])
async def test_what_the_client_leaves_is_cancelled_upstream(
    client: httpx.AsyncClient, engine: FakeEngine, headers: dict[str, str], stream: bool
) -> None:
    engine.routes[CHAT] = hang
    with pytest.raises(httpx.TimeoutException):
        await client.post(CHAT, json={**HELLO, "stream": stream}, headers=headers, timeout=1.0)
    async with asyncio.timeout(5):
        while not engine.cancelled:
            await asyncio.sleep(0.05)
    assert engine.cancelled == 1


async def test_a_stream_is_not_held_back(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    released = asyncio.Event()

    async def paused(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if not request.json.get("stream"):
            return await reply_json(send, completion(request, fake))
        await begin_stream(send)
        chunk = {"choices": [{"index": 0, "delta": {"content": "first"}, "token_ids": [1]}]}
        await event(send, {**chunk, "prompt_token_ids": completion(request, fake)["prompt_token_ids"]})
        await released.wait()
        await event(send, {"choices": [{"index": 0, "delta": {"content": "second"}, "token_ids": [2, 3]}]})
        await event(send, "[DONE]")
        await send({"type": "http.response.body", "body": b""})
        return None

    engine.routes[CHAT] = paused
    async with client.stream("POST", CHAT, json={**HELLO, "stream": True}, headers=PERTURB) as answer:
        lines = answer.aiter_lines()
        first = json.loads((await anext(lines)).removeprefix("data: "))
        assert first["choices"][0]["delta"]["content"] == "first"
        assert first["prompt_token_ids"] is None
        assert first["choices"][0]["token_ids"] is None
        released.set()
        rest = [line async for line in lines if line]
    assert json.loads(rest[0].removeprefix("data: "))["choices"][0] == {
        "index": 0,
        "delta": {"content": "second"},
        "token_ids": None,
    }
    assert rest[1] == "data: [DONE]"


async def test_after_a_lost_engine_the_models_are_asked_anew(engine: FakeEngine, proxied: Proxied) -> None:
    port = free_port()
    async with proxied(upstream=f"http://127.0.0.1:{port}") as client:
        assert (await client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 503
        async with serving(FakeEngine(), port) as started:
            assert (await client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 200
            assert (await client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 200
            assert len(started.asked("/v1/models")) == 1
        assert (await client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 503
        async with serving(FakeEngine(), port) as again:
            assert (await client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 200
            assert len(again.asked("/v1/models")) == 1


async def test_a_websocket_is_refused(client: httpx.AsyncClient) -> None:
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "x" * 22,
    }
    assert (await client.get("/v1/realtime", headers=upgrade)).status_code in {400, 403}


async def test_the_engine_cannot_speak_in_our_name(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    forged = (b"unhitch-applied", b"perturb;version=1;tokens=10")
    engine.routes[CHAT] = answering(200, {}, forged, (b"Unhitch-Receipt", b"x=1"))
    answer = await client.post(CHAT, json=HELLO)
    assert answer.headers.get_list("unhitch-applied") == ["off"]
    assert "unhitch-receipt" not in answer.headers


async def test_paths_of_our_own_are_never_the_engines(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    for method, path in (("GET", "/unhitch/v1/explain"), ("GET", "/unhitch/v1/nope"), ("POST", "/healthz")):
        answer = await client.request(method, path)
        assert answer.status_code == 404
        assert error_of(answer)["code"] == "route_not_found"
        assert not engine.asked(path)
    assert (await client.head("/healthz")).status_code == 200


async def test_an_unforeseen_error_is_an_openai_error_too(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("unhitch_server.routes.chat.render", broken)
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal_error"
    assert answer.headers["Unhitch-Applied"] == "off"


async def test_headers_in_utf_8_arrive_as_they_came_and_others_are_refused(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await client.post("/v1/embeddings", headers=[(b"x-name", "café".encode())])
    assert dict(engine.asked("/v1/embeddings")[-1].headers)[b"x-name"] == "café".encode()
    refused = await client.post("/v1/embeddings", headers=[(b"x-name", "café".encode("latin-1"))])
    assert error_of(refused)["code"] == "invalid_header"


async def test_an_endless_header_of_ours_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json=HELLO, headers={"Unhitch-Mitigation": "perturb," * 4000})
    assert answer.status_code in {400, 431}
