"""Asking through the proxy's own serving, and collecting what comes."""

from __future__ import annotations

import json

from unhitch.errors import MitigationUnavailable
from unhitch_server.aside.asking import MOST_KEPT_BYTES, Collected, ask_again, ask_chat
from unhitch_server.exchange import Exchange
from unhitch_server.receipts import Stopwatch
from unhitch_server.reply import Reply


async def echo(exchange: Exchange) -> None:
    await exchange.reply.whole(200, [(b"Content-Type", b"text/plain")], exchange.body)


async def test_an_answer_is_kept_and_handed_on() -> None:
    seen: list[str] = []

    async def send(message: object) -> None:
        seen.append(message["type"])  # type: ignore[index]

    collected = Collected()
    reply = Reply(collected.to(send))
    await reply.start(201, [(b"X-A", b"b")])
    await reply.write(b"one ")
    assert not collected.complete
    await reply.write(b"two")
    await reply.end()
    assert (collected.status, collected.headers, bytes(collected.body)) == (201, {"x-a": "b"}, b"one two")
    assert collected.complete
    assert len(seen) == 4


async def test_of_a_huge_answer_the_beginning_is_kept_and_its_size_is_known() -> None:
    collected = Collected()
    reply = Reply(collected.to())
    await reply.start(200, [])
    for _ in range(5):
        await reply.write(b"x" * (MOST_KEPT_BYTES // 2))
    assert (len(collected.body), collected.size) == (MOST_KEPT_BYTES, 5 * (MOST_KEPT_BYTES // 2))


async def test_a_request_of_our_own_is_served_as_a_clients_is() -> None:
    async def serve(exchange: Exchange) -> None:
        assert (exchange.method, exchange.path, exchange.target) == ("POST", *["/v1/chat/completions"] * 2)
        await echo(exchange)

    assert json.loads((await ask_chat({"model": "m"}, serve)).body) == {"model": "m"}


async def test_asking_again_sends_the_same_body_and_a_refusal_is_an_answer_too() -> None:
    async def refuse(exchange: Exchange) -> None:
        raise MitigationUnavailable(exchange.body.decode())

    first = Exchange({"path": "/x", "headers": [], "method": "POST"}, Reply(Collected().to()), Stopwatch(), b"the body")
    found = await ask_again(first, refuse)
    assert (found.status, json.loads(found.body)["error"]["message"]) == (422, "the body")
    assert found.headers["unhitch-applied"] == "off"
