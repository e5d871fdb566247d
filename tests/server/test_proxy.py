import asyncio
import gzip
import json
from typing import Any

import httpx
import pytest
from starlette.types import Send

from tests.server.conftest import Proxied
from tests.server.fake_engine import (
    MODEL,
    FakeEngine,
    Handler,
    Recorded,
    begin_stream,
    completion,
    event,
    reply_json,
    serving,
)
from unhitch_server.network import free_port

CHAT = "/v1/chat/completions"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
PERTURB = {"Unhitch-Mitigation": "perturb;seed=1"}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


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


async def test_a_mitigated_answer_carries_applied_receipt_and_timing(client: httpx.AsyncClient) -> None:
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert answer.status_code == 200
    assert answer.headers["Unhitch-Applied"].startswith("perturb;version=1;")
    assert {"before", "after", "template", "model"} <= {
        part.strip().partition("=")[0] for part in answer.headers["Unhitch-Receipt"].split(",")
    }
    assert answer.headers["Server-Timing"].startswith("unhitch;dur=")


async def test_unknown_fields_survive_both_ways(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    body = json.dumps({**HELLO, "new_field": {"a": [1]}, "kv_transfer_params": {"other": 1}})[:-1] + ',"big":1e2}'
    answer = await client.post(CHAT, content=body, headers=PERTURB)
    sent = engine.asked(CHAT)[-1]
    assert sent.json["new_field"] == {"a": [1]}
    assert sent.json["kv_transfer_params"]["other"] == 1
    assert b'"big":1e2' in sent.body
    assert answer.json()["engine_field"] == 12345678901234567890123
    assert answer.json()["choices"][0]["message"]["engine_field"] == {"x": 100.0}


async def test_token_ids_that_the_client_did_not_ask_for_are_null_as_without_a_mitigation(
    client: httpx.AsyncClient,
) -> None:
    plain = (await client.post(CHAT, json=HELLO)).json()
    mitigated = (await client.post(CHAT, json=HELLO, headers=PERTURB)).json()
    assert plain["prompt_token_ids"] is None
    assert mitigated == plain | {"usage": mitigated["usage"]}


async def test_token_ids_that_the_client_asked_for_stay(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    answer = (await client.post(CHAT, json={**HELLO, "return_token_ids": True}, headers=PERTURB)).json()
    assert answer["prompt_token_ids"] == engine.asked(CHAT)[-1].json["kv_transfer_params"]["prompt_token_ids"]
    assert answer["choices"][0]["token_ids"] == [5]


async def test_an_answer_of_an_engine_that_read_other_tokens_is_withheld(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    assert (await client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 200
    engine.takes_token_ids = False
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert answer.status_code == 502
    assert error_of(answer)["code"] == "mitigation_unavailable"
    assert "Hi." not in answer.text


async def test_a_stream_of_an_engine_that_does_not_confirm_is_withheld_from_its_first_byte(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    async def unconfirmed(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if not request.json.get("stream"):
            return await reply_json(send, completion(request, fake))
        await begin_stream(send)
        await event(send, {"choices": [{"delta": {"content": "Hi."}}]})
        await event(send, "[DONE]")
        await send({"type": "http.response.body", "body": b""})
        return None

    engine.routes[CHAT] = unconfirmed
    answer = await client.post(CHAT, json={**HELLO, "stream": True}, headers=PERTURB)
    assert answer.status_code == 502
    assert error_of(answer)["code"] == "mitigation_unavailable"
    assert "Hi." not in answer.text


async def test_an_engine_without_the_token_id_field_is_found_by_the_probe(engine: FakeEngine, proxied: Proxied) -> None:
    engine.takes_token_ids = False
    async with proxied() as client:
        answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
        assert answer.status_code == 422
        assert "vLLM 0.32" in error_of(answer)["message"]
        assert "0.1.fake" in error_of(answer)["message"]
        assert (await client.post(CHAT, json=HELLO)).status_code == 200, "off does not need the field"


async def test_a_template_without_a_prefix_is_an_error_that_says_what_to_do(
    engine: FakeEngine, proxied: Proxied
) -> None:
    engine.chat_template = "{% for message in messages %}{{ message.content }}\n{% endfor %}"
    async with proxied(chat_template=engine.chat_template) as client:
        for mitigation in ("perturb", "recase", "respace", "bare"):
            answer = await client.post(CHAT, json=HELLO, headers={"Unhitch-Mitigation": mitigation})
            assert answer.status_code == 422
            assert error_of(answer)["code"] == "mitigation_unavailable"
            assert "prefix" in error_of(answer)["message"] or "nothing" in error_of(answer)["message"]
        assert (await client.post(CHAT, json=HELLO)).status_code == 200


async def test_an_engine_that_renders_otherwise_is_found_by_the_probe(engine: FakeEngine, proxied: Proxied) -> None:
    async def other(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await reply_json(send, {"tokens": [1, 2, 3]})

    engine.routes["/tokenize"] = other
    async with proxied() as client:
        answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
        assert answer.status_code == 422
        assert "--chat-template" in error_of(answer)["message"]


async def test_a_model_whose_files_are_not_here_is_an_error_that_names_the_option(
    engine: FakeEngine, proxied: Proxied
) -> None:
    engine.root = "/nowhere/model"
    async with proxied() as client:
        answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
        assert answer.status_code == 422
        assert f"--checkpoint {MODEL}=PATH" in error_of(answer)["message"]
    async with proxied(checkpoints={MODEL: FakeEngine().root}) as client:
        assert (await client.post(CHAT, json=HELLO, headers=PERTURB)).status_code == 200


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


async def test_a_compressed_body_is_not_guessed_at(client: httpx.AsyncClient) -> None:
    body = gzip.compress(json.dumps(HELLO).encode())
    answer = await client.post(CHAT, content=body, headers={**PERTURB, "Content-Encoding": "gzip"})
    assert error_of(answer)["code"] == "invalid_body"


async def test_half_a_surrogate_pair_is_refused_and_does_not_break_anything(client: httpx.AsyncClient) -> None:
    body = rb'{"model": "mini-base", "messages": [{"role": "user", "content": "a \ud800 b"}]}'
    answer = await client.post(CHAT, content=body, headers=PERTURB)
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_body"


async def test_the_engines_own_error_reaches_the_client_as_it_is(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await client.post(CHAT, json=HELLO, headers=PERTURB)
    own = b'{"error": {"message": "too long",  "code": 400}}'

    async def refuse(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await send({"type": "http.response.start", "status": 400, "headers": [(b"x-engine", b"1")]})
        await send({"type": "http.response.body", "body": own})

    engine.routes[CHAT] = refuse
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert (answer.status_code, answer.content, answer.headers["x-engine"]) == (400, own, "1")
    assert answer.headers["Unhitch-Applied"].startswith("perturb;")


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


UNMITIGATED = {"choices": [{"index": 0, "message": {"content": "UNMITIGATED"}}]}


def answering(status: int, body: object, *headers: tuple[bytes, bytes]) -> Handler:
    """A chat route that lets the probe through and answers all else as given."""

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if request.json.get("max_tokens") == 1:
            return await reply_json(send, completion(request, fake))
        content = [(b"content-type", b"application/json"), *headers]
        await send({"type": "http.response.start", "status": status, "headers": content})
        await send(
            {"type": "http.response.body", "body": body if isinstance(body, bytes) else json.dumps(body).encode()}
        )
        return None

    return handler


@pytest.mark.parametrize("status", [200, 201, 203, 206])
@pytest.mark.parametrize("more", [{}, {"error": None}, {"error": {"message": "x"}}])
async def test_no_answer_passes_unconfirmed(
    client: httpx.AsyncClient, engine: FakeEngine, status: int, more: dict[str, object]
) -> None:
    engine.routes[CHAT] = answering(status, UNMITIGATED | more)
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert answer.status_code == 502
    assert "UNMITIGATED" not in answer.text


async def test_a_redirect_is_not_handed_to_the_client_who_would_follow_it_past_the_proxy(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.routes[CHAT] = answering(307, b"", (b"location", f"{engine.url}{CHAT}".encode()))
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert answer.status_code == 502
    assert "location" not in answer.headers


async def test_an_error_at_a_streams_start_confirms_nothing_for_what_follows(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    async def failing(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if not request.json.get("stream"):
            return await reply_json(send, completion(request, fake))
        await begin_stream(send)
        await event(send, {"error": {"message": "out of memory"}})
        await event(send, UNMITIGATED)
        await send({"type": "http.response.body", "body": b""})
        return None

    engine.routes[CHAT] = failing
    answer = await client.post(CHAT, json={**HELLO, "stream": True}, headers=PERTURB)
    assert "UNMITIGATED" not in answer.text


async def test_the_engine_cannot_speak_in_our_name(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    forged = (b"unhitch-applied", b"perturb;version=1;tokens=10")
    engine.routes[CHAT] = answering(200, {}, forged, (b"Unhitch-Receipt", b"x=1"))
    answer = await client.post(CHAT, json=HELLO)
    assert answer.headers.get_list("unhitch-applied") == ["off"]
    assert "unhitch-receipt" not in answer.headers


@pytest.mark.parametrize(
    "body",
    [b"[" * 100_000, b"\xff", b'{"choices": null, "x": "token_ids"}', b'{"choices": [null], "x": "token_ids"}'],
)
async def test_what_an_engine_should_not_say_is_its_fault_and_not_the_clients(
    client: httpx.AsyncClient, engine: FakeEngine, body: bytes
) -> None:
    engine.routes[CHAT] = answering(200, body)
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert answer.status_code == 502
    assert error_of(answer)["code"] == "mitigation_unavailable"


async def test_the_clients_own_transfer_parameters_are_forwarded_as_they_came(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    body = json.dumps(HELLO)[:-1] + ', "kv_transfer_params": {"a":1e400, "b":1e2, "c":1, "c":2}}'
    await client.post(CHAT, content=body, headers=PERTURB)
    assert b'{"a":1e400, "b":1e2, "c":1, "c":2,"prompt_token_ids":[' in engine.asked(CHAT)[-1].body


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


async def test_requests_without_a_model_are_prepared_once(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await client.get("/readyz")
    asked = len(engine.asked("/v1/models"))
    for _ in range(4):
        answer = await client.post(CHAT, json={"messages": HELLO["messages"]}, headers=PERTURB)
        assert answer.status_code == 200
        assert f'model="{MODEL}"' in answer.headers["Unhitch-Receipt"]
    assert len(engine.asked("/v1/models")) == asked
