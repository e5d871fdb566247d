import asyncio
from collections.abc import AsyncIterator

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from unhitch_server.access import protocol
from unhitch_server.access.protocol import MOST_HEAD_BYTES, BoundedProtocol
from unhitch_server.network import free_port
from unhitch_server.serving import Server, listening


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the length of the body."""
    if scope["type"] != "http":
        return
    size, more = 0, True
    while more:
        message = await receive()
        size += len(message.get("body", b""))
        more = message.get("more_body", False)
    body = b"%d" % size
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    port = free_port()
    config = uvicorn.Config(app, port=port, http=BoundedProtocol, lifespan="off", log_level="error")
    async with listening(Server(config)):
        yield port


async def exchange(port: int, *parts: bytes, pause: float = 0.02) -> bytes:
    """Sends parts as packets of their own until the server answers, and reads until it closes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answer = asyncio.create_task(reader.read())
    for part in parts:
        if not answer.done():
            writer.write(part)
            await writer.drain()
            await asyncio.sleep(pause)
    try:
        return await asyncio.wait_for(answer, 10)
    finally:
        writer.close()


async def test_a_request_whose_head_comes_in_pieces_is_served(port: int) -> None:
    answer = await exchange(
        port, b"POST / HT", b"TP/1.1\r\nhost: x\r\ncontent-le", b"ngth: 3\r\nconnection: close\r\n\r\n", b"abc"
    )
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\n3")


async def test_a_large_body_does_not_count(port: int) -> None:
    size = 4 * MOST_HEAD_BYTES
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % size
    answer = await exchange(port, head, *([b"x" * (size // 8)] * 8))
    assert answer.endswith(b"%d" % size)


async def test_requests_after_a_large_body_on_the_same_connection_are_served(port: int) -> None:
    body = b"x" * (2 * MOST_HEAD_BYTES)
    first = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body) + body
    answer = await exchange(port, first + b"GET / HT", b"TP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    assert answer.count(b"HTTP/1.1 200") == 2


@pytest.mark.parametrize("piece", [b"a" * 8192, b"x-name: value\r\n" * 500])
async def test_a_head_without_end_is_broken_off(port: int, piece: bytes) -> None:
    start = b"GET / HTTP/1.1\r\nhost: x\r\nx-long: "
    answer = await exchange(port, start, *([piece] * 40))
    assert answer.startswith(b"HTTP/1.1 431")


@pytest.mark.parametrize("start", [b"", b"GET / HTTP/1.1\r\nhost: x\r\n"])
async def test_a_head_that_does_not_come_is_not_waited_for(
    port: int, monkeypatch: pytest.MonkeyPatch, start: bytes
) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.2)
    assert (await exchange(port, start)).startswith(b"HTTP/1.1 408")


async def test_a_request_under_way_is_not_broken_off(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_SECONDS", 0.1)
    head = b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"
    assert (await exchange(port, head, b"abc", pause=0.3)).endswith(b"\r\n\r\n3")
