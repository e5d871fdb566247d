import asyncio

import httpx
from starlette.types import Send

from tests.server.conftest import Proxied
from tests.server.fake_engine import MODEL, FakeEngine, Recorded, reply_json, tokenize

CHAT = "/v1/chat/completions"
BARE = {"Unhitch-Mitigation": "bare"}


def hello(text: str = "Hello") -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": text}]}


async def renderings(engine: FakeEngine, text: str) -> int:
    await asyncio.sleep(0.1)  # the comparison runs beside the request's path
    return len([each for each in engine.asked("/tokenize") if each.json["messages"][0]["content"] == text])


async def test_one_in_so_many_mitigated_requests_is_rendered_by_the_engine_too(
    engine: FakeEngine, proxied: Proxied
) -> None:
    async with proxied(rendering_check_every=3) as client:
        for _ in range(6):
            await client.post(CHAT, json=hello("Good day"), headers=BARE)
        await client.post(CHAT, json=hello("Good day"))
        assert await renderings(engine, "Good day") == 2


async def test_after_a_difference_just_the_requests_that_differ_are_refused(
    engine: FakeEngine, client: httpx.AsyncClient
) -> None:
    async def odd(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if request.json["messages"][0]["content"] == "odd":
            return await reply_json(send, {"tokens": [1]})
        return await tokenize(fake, request, send)

    engine.routes["/tokenize"] = odd
    assert (await client.post(CHAT, json=hello("odd"), headers=BARE)).status_code == 200, "found out beside its path"
    assert await renderings(engine, "odd") == 1
    refused = await client.post(CHAT, json=hello("odd"), headers=BARE)
    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "mitigation_unavailable"
    assert (await client.post(CHAT, json=hello("even"), headers=BARE)).status_code == 200
    beyond = await client.post(CHAT, json=hello("even") | {"reasoning_effort": "low"}, headers=BARE)
    assert beyond.status_code == 422
    assert beyond.json()["error"]["param"] == "reasoning_effort"
