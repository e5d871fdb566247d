"""Reading a request's body, and writing an answer."""

import asyncio

import pytest
from starlette.types import Message

from unhitch.errors import BodyTooSlow
from unhitch_server.reply import ClientGone, Reply, read_body


async def test_a_body_that_stops_half_way_is_not_waited_for_without_end() -> None:
    parts: list[Message] = [{"type": "http.request", "body": b'{"mod', "more_body": True}]

    async def receive() -> Message:
        return parts.pop() if parts else await asyncio.Future()

    with pytest.raises(BodyTooSlow, match=r"5 bytes of the request body came, and then nothing for 0\.05 s") as raised:
        await read_body(receive, [], 100, silence_seconds=0.05)
    assert raised.value.status == 408


async def test_a_body_that_comes_slowly_is_read_to_its_end() -> None:
    left = list(b"slowly")

    async def receive() -> Message:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": bytes([left.pop(0)]), "more_body": bool(left)}

    assert await read_body(receive, [], 100, silence_seconds=0.1) == b"slowly"


async def test_a_client_that_leaves_within_its_body_is_no_error_of_anybody() -> None:
    async def receive() -> Message:
        return {"type": "http.disconnect"}

    with pytest.raises(ClientGone):
        await read_body(receive, [], 100)


async def test_a_complete_answer_has_the_length_of_its_body_and_no_other() -> None:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await Reply(send).whole(200, [(b"Content-Length", b"99"), (b"x-kept", b"1")], b"body")
    assert sent[0]["headers"] == [(b"x-kept", b"1"), (b"content-length", b"4")]
