"""A fake of vLLM on the level of bytes: sound where it is probed, and as bad as a test wants where it generates."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.types import Message

from tests.server.fake_engine import DEFAULT_ROUTES, FakeEngine, Recorded, completion, not_found

CHAT = "/v1/chat/completions"
SECRET = "what an unedited prompt makes the model say"


class Wire:
    """One request as the engine got it, and the bytes of its answer."""

    def __init__(self, request: Recorded, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self._writer = writer

    @property
    def streamed(self) -> bool:
        return bool(self.request.json.get("stream"))

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def head(self, status: int, *headers: str) -> None:
        await self.raw("\r\n".join([f"HTTP/1.1 {status} Words", *headers, "", ""]).encode())

    async def begin_stream(self) -> None:
        await self.head(200, "Content-Type: text/event-stream", "Transfer-Encoding: chunked")

    async def chunk(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%s\r\n" % (len(data), data))

    async def event(self, text: str, ids: list[int] | None = None) -> None:
        value = {"choices": [{"index": 0, "delta": {"content": text}, "token_ids": [1]}]}
        if ids is not None:
            value |= {"prompt_token_ids": ids}  # type: ignore[dict-item]
        await self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    async def first_event(self, text: str = "Hi.") -> None:
        await self.begin_stream()
        await self.event(text, completion(self.request, FakeEngine())["prompt_token_ids"])

    async def whole(self, status: int, body: bytes, *headers: str) -> None:
        await self.head(status, "Content-Type: application/json", f"Content-Length: {len(body)}", *headers)
        await self.raw(body)

    async def sound(self) -> None:
        """A sound answer."""
        answer = completion(self.request, FakeEngine())
        if not self.streamed:
            await self.whole(200, json.dumps(answer).encode())
            return
        await self.first_event()
        await self.chunk(b"data: [DONE]\n\n")
        await self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        """Ends the connection with RST, as a machine does whose process was killed."""
        peer = self._writer.get_extra_info("socket")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        self._writer.close()


Handler = Callable[[Wire], Awaitable[None]]


@dataclass
class BadEngine:
    """Counts what it is doing, so that a test sees what the proxy leaves behind."""

    handler: Handler = Wire.sound
    health: int = 200
    requests: list[Recorded] = field(default_factory=list)
    running: int = 0
    """Generations that have neither ended nor been told to."""
    connections: int = 0
    url: str = ""
    idle: set[asyncio.StreamWriter] = field(default_factory=set)
    """Connections that no request is on."""

    def hang_up(self) -> None:
        """Closes the idle connections, as engines do after a while."""
        for writer in self.idle:
            writer.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.idle.add(writer)
        try:
            while (request := await _request(reader)) is not None:
                self.idle.discard(writer)
                await self._answer(request, reader, writer)
                self.idle.add(writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.connections -= 1
            self.idle.discard(writer)
            writer.close()

    async def _answer(self, request: Recorded, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(request, writer)
        if request.target == "/health":
            await wire.whole(self.health, b"")
        elif request.target == CHAT and request.json.get("max_tokens") != 1:
            self.requests.append(request)
            await self._generate(wire, reader)
        else:
            await _probe(wire)

    async def _generate(self, wire: Wire, reader: asyncio.StreamReader) -> None:
        """Until the end of the answer, or of the connection: the proxy sends nothing more on it before."""
        self.running += 1
        work = asyncio.ensure_future(self.handler(wire))
        gone = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.running -= 1
            ended = work.done()
            for task in (work, gone):
                task.cancel()
            await asyncio.gather(work, gone, return_exceptions=True)
        if not ended:
            raise ConnectionError


async def _request(reader: asyncio.StreamReader) -> Recorded | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode("latin-1").strip().split("\r\n")
    method, target, _ = first.split(" ")
    pairs = [line.split(":", 1) for line in lines]
    headers = [(name.lower().encode(), value.strip().encode()) for name, value in pairs]
    body = await reader.readexactly(int(dict(headers).get(b"content-length", b"0")))
    return Recorded(method, target, headers, body)


async def _probe(wire: Wire) -> None:
    """Answers as the fake on the level of ASGI does."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    await DEFAULT_ROUTES.get(wire.request.target, not_found)(FakeEngine(), wire.request, send)
    await wire.whole(sent[0]["status"], b"".join(message.get("body", b"") for message in sent))


@asynccontextmanager
async def serving(engine: BadEngine) -> AsyncIterator[BadEngine]:
    listener = await asyncio.start_server(engine.connected, "127.0.0.1", 0)
    engine.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield engine
    finally:
        listener.close()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(listener.wait_closed(), 1)
