import gzip
import json

import httpx
import pytest
from starlette.types import Send

from tests.server.asking import CHAT, HELLO, PERTURB, answering, error_of, streaming
from tests.server.conftest import Proxied
from tests.server.fake_engine import MODEL, FakeEngine, Recorded, completion, reply

UNMITIGATED = {"choices": [{"index": 0, "message": {"content": "UNMITIGATED"}}]}


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
    engine.routes[CHAT] = streaming({"choices": [{"delta": {"content": "Hi."}}]}, "[DONE]")
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
    engine.routes["/tokenize"] = answering(200, {"tokens": [1, 2, 3]})
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
    own = b'{"error": {"message": "too long",  "code": 400}}'
    engine.routes[CHAT] = answering(400, own, (b"x-engine", b"1"))
    answer = await client.post(CHAT, json=HELLO, headers=PERTURB)
    assert (answer.status_code, answer.content, answer.headers["x-engine"]) == (400, own, "1")
    assert answer.headers["Unhitch-Applied"].startswith("perturb;")


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
    engine.routes[CHAT] = streaming({"error": {"message": "out of memory"}}, UNMITIGATED)
    answer = await client.post(CHAT, json={**HELLO, "stream": True}, headers=PERTURB)
    assert "UNMITIGATED" not in answer.text


async def test_the_clients_own_transfer_parameters_are_forwarded_as_they_came(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    body = json.dumps(HELLO)[:-1] + ', "kv_transfer_params": {"a":1e400, "b":1e2, "c":1, "c":2}}'
    await client.post(CHAT, content=body, headers=PERTURB)
    assert b'{"a":1e400, "b":1e2, "c":1, "c":2,"prompt_token_ids":[' in engine.asked(CHAT)[-1].body


async def test_requests_without_a_model_are_prepared_once(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    await client.get("/readyz")
    asked = len(engine.asked("/v1/models"))
    for _ in range(4):
        answer = await client.post(CHAT, json={"messages": HELLO["messages"]}, headers=PERTURB)
        assert answer.status_code == 200
        assert f'model="{MODEL}"' in answer.headers["Unhitch-Receipt"]
    assert len(engine.asked("/v1/models")) == asked


async def test_a_stream_whose_length_the_engine_gave_ends_well(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    async def buffered(fake: FakeEngine, request: Recorded, send: Send) -> None:
        chunk = {"choices": [{"index": 0, "delta": {"content": "Hi."}, "token_ids": [5]}]}
        chunk["prompt_token_ids"] = completion(request, fake)["prompt_token_ids"]
        body = b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n"
        await reply(send, 200, body, b"text/event-stream")

    await client.post(CHAT, json=HELLO, headers=PERTURB)  # the probe is over
    engine.routes[CHAT] = buffered
    answer = await client.post(CHAT, json={**HELLO, "stream": True}, headers=PERTURB)
    assert answer.content.endswith(b"data: [DONE]\n\n")
