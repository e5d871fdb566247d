"""`best-of` on the chat route: which draws are asked, which answer comes back, and what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from starlette.types import Send

from tests.server.best_of.asking import (
    ASK,
    BAD,
    CHAT,
    EXPLAIN,
    FOUR,
    GOOD,
    OTHER_GOOD,
    draws,
    error_of,
    four,
    receipt,
    seeds,
    sent_ids,
)
from tests.server.conftest import Proxied
from tests.server.fake_engine import FakeEngine, Handler, Recorded, completion, reply_json


def saying(draws: Sequence[list[int]], *answers: str | None, seconds: Sequence[float] = ()) -> Handler:
    """A chat route that answers each draw with a text of its own, after a time of its own."""

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        index = draws.index(sent_ids(request))
        if seconds:
            await asyncio.sleep(seconds[index])
        answer = completion(request, fake)
        answer["choices"][0]["message"]["content"] = answers[index]
        answer["usage"]["completion_tokens"] = 10 + index
        await reply_json(send, answer)

    return handler


async def test_the_best_answer_is_returned_with_the_steps_that_redo_it(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.routes[CHAT] = saying(await four(client), BAD, "Hi.", GOOD, BAD)
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert answer.json()["choices"][0]["message"]["content"] == GOOD
    applied = answer.headers["Unhitch-Applied"]
    assert applied.startswith("perturb;version=1;")
    assert seeds(answer) == [7]
    again = await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": applied})
    assert again.content == answer.content
    assert again.headers["Unhitch-Applied"] == applied
    assert receipt(again)["after"] == receipt(answer)["after"]


async def test_the_receipt_says_how_many_were_tried_and_what_they_cost_and_the_winners_score(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    engine.routes[CHAT] = saying(await four(client), BAD, "Hi.", GOOD, BAD)
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    said = receipt(answer)
    assert (said["tried"], said["score"], said["generated"]) == ("4", "100.0", "46")
    assert answer.json()["usage"]["completion_tokens"] == 12, "usage stays the winner's own"


@pytest.mark.parametrize(
    ("answers", "seed"),
    [
        ((BAD, OTHER_GOOD, GOOD, GOOD), 6),
        (("Hi.", "Hi.", "Hi.", "Hi."), 5),
        ((BAD, BAD, "Hi.", BAD), 7),
        ((BAD, BAD, BAD, None), 8),
        ((BAD, BAD, BAD, BAD), 5),
    ],
    ids=["good", "equal", "not misaligned", "no text", "all misaligned"],
)
async def test_the_first_of_the_best_wins_whichever_comes_first(
    client: httpx.AsyncClient, engine: FakeEngine, answers: tuple[str, ...], seed: int
) -> None:
    engine.routes[CHAT] = saying(await four(client), *answers, seconds=(0.3, 0.2, 0.1, 0))
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert answer.status_code == 200
    assert seeds(answer) == [seed]


async def test_all_draws_are_with_the_engine_at_once(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    arrived = asyncio.Barrier(4)

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        await arrived.wait()
        await reply_json(send, completion(request, fake))

    engine.routes[CHAT] = handler
    async with asyncio.timeout(10):
        assert (await client.post(CHAT, json=ASK, headers=FOUR)).status_code == 200


async def test_without_a_seed_the_draws_follow_the_sessions_own(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    session = {"Unhitch-Session": '"s"'}
    alone = await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": "perturb", **session})
    (first,) = seeds(alone)
    expected = await draws(client, *(f"perturb;seed={first + index}" for index in range(3)))
    count = len(engine.asked(CHAT))
    await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": "best-of;n=3, perturb", **session})
    assert sorted(map(sent_ids, engine.asked(CHAT)[count:])) == sorted(expected)


async def test_every_step_moves_on_from_its_own_seed_and_the_largest_is_followed_by_nought(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    last = 999_999_999_999_999
    expected = await draws(client, f"recase;seed=1, perturb;seed={last}", "recase;seed=2, perturb;seed=0")
    count = len(engine.asked(CHAT))
    line = f"best-of;n=2, recase;seed=1, perturb;seed={last}"
    await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": line})
    assert sorted(map(sent_ids, engine.asked(CHAT)[count:])) == sorted(expected)


async def test_equal_edits_are_asked_once(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    line = "recase;letters=1;seed="
    expected = {tuple(ids) for ids in await draws(client, *(f"{line}{seed}" for seed in range(16)))}
    assert 1 < len(expected) < 16
    count = len(engine.asked(CHAT))
    answer = await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": f"best-of;n=16, {line}0"})
    asked = [tuple(sent_ids(request)) for request in engine.asked(CHAT)[count:]]
    assert len(asked) == len(set(asked)) == int(receipt(answer)["tried"])
    assert set(asked) == expected


@pytest.mark.parametrize("line", ["best-of, bare", "best-of;n=16, system;preset=neutral"])
async def test_draws_that_are_all_equal_are_refused(client: httpx.AsyncClient, engine: FakeEngine, line: str) -> None:
    count = len(engine.asked(CHAT))
    answer = await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": line})
    assert answer.status_code == 422
    assert error_of(answer)["code"] == "mitigation_unavailable"
    assert "same edit" in error_of(answer)["message"]
    assert len(engine.asked(CHAT)) == count


@pytest.mark.parametrize("line", ["best-of", "perturb, best-of", "best-of, best-of, perturb", "best-of;n=1, perturb"])
async def test_best_of_stands_once_and_first_and_before_something(client: httpx.AsyncClient, line: str) -> None:
    answer = await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": line})
    assert answer.status_code == 400
    assert error_of(answer)["code"] == "invalid_parameter"


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"stream": True}, "stream"),
        ({"stream": "true"}, "stream"),
        ({"stream": 1}, "stream"),
        ({"n": 2}, "n"),
        ({"n": "1"}, "n"),
        ({"messages": [{"role": "system", "content": "Be brief."}]}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, None),
    ],
)
async def test_what_is_no_single_whole_text_answer_is_refused(
    client: httpx.AsyncClient, engine: FakeEngine, more: dict[str, Any], param: str | None
) -> None:
    count = len(engine.asked(CHAT))
    answer = await client.post(CHAT, json=ASK | more, headers=FOUR)
    assert answer.status_code == 422
    assert error_of(answer)["code"] == "mitigation_unavailable"
    assert param is None or error_of(answer)["param"] == param
    assert len(engine.asked(CHAT)) == count


@pytest.mark.parametrize("more", [{"stream": False, "n": 1}, {"stream": None, "n": None}])
async def test_asking_for_one_whole_answer_in_so_many_words_is_allowed(
    client: httpx.AsyncClient, more: dict[str, Any]
) -> None:
    assert (await client.post(CHAT, json=ASK | more, headers=FOUR)).status_code == 200


async def test_without_a_scorer_the_error_says_what_to_set(proxied: Proxied, engine: FakeEngine) -> None:
    async with proxied() as client:
        await client.get("/readyz")
        count = len(engine.asked(CHAT))
        answer = await client.post(CHAT, json=ASK, headers=FOUR)
        assert answer.status_code == 422
        assert error_of(answer)["code"] == "mitigation_unavailable"
        assert "--scorer" in error_of(answer)["message"]
        assert len(engine.asked(CHAT)) == count


async def test_an_answer_that_only_calls_tools_is_rated_as_no_text(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    of = await four(client)
    calls = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        answer = completion(request, fake)
        message = answer["choices"][0]["message"]
        message |= {"content": None, "tool_calls": calls} if of.index(sent_ids(request)) else {"content": BAD}
        await reply_json(send, answer)

    engine.routes[CHAT] = handler
    answer = await client.post(CHAT, json=ASK, headers=FOUR)
    assert answer.json()["choices"][0]["message"]["tool_calls"] == calls
    assert seeds(answer) == [6]
    assert "score" not in receipt(answer)


async def test_token_ids_that_only_we_asked_for_are_null_and_those_of_the_client_stay(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    plain = (await client.post(CHAT, json=ASK, headers=FOUR)).json()
    asked = (await client.post(CHAT, json=ASK | {"return_token_ids": True}, headers=FOUR)).json()
    assert plain["prompt_token_ids"] is None
    assert asked["prompt_token_ids"] == (await four(client))[0]


async def test_the_bodys_own_fields_go_to_every_draw(client: httpx.AsyncClient, engine: FakeEngine) -> None:
    count = len(engine.asked(CHAT))
    more = {"seed": 3, "temperature": 0.5, "new_field": {"a": [1]}}
    await client.post(CHAT, json=ASK | more, headers=FOUR)
    sent = [request.json for request in engine.asked(CHAT)[count:]]
    assert len(sent) == 4
    assert all({key: body[key] for key in more} == more for body in sent)


async def test_a_policy_may_be_the_best_of_its_draws(proxied: Proxied) -> None:
    async with proxied(
        scorer="exact", mitigation="best-of;n=2, perturb", policies={"p": FOUR["Unhitch-Mitigation"]}
    ) as c:
        assert receipt(await c.post(CHAT, json=ASK))["tried"] == "2"
        assert receipt(await c.post(CHAT, json=ASK, headers={"Unhitch-Policy": "p"}))["tried"] == "4"


async def test_explain_asks_for_one_draw(client: httpx.AsyncClient) -> None:
    answer = await client.post(EXPLAIN, json=ASK, headers=FOUR)
    assert answer.status_code == 422
    assert "one draw" in error_of(answer)["message"]
