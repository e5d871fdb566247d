"""An engine that notes what reaches it, byte by byte, and answers as vLLM does or as a target wants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.types import Message

from tests.fuzz.reading import Read, read
from tests.server.fake_engine import DEFAULT_ROUTES, FakeEngine, Recorded, not_found

NUMBER = b"x-fuzz"
"""Header by which a request of the fuzzer's is known from the proxy's own questions."""

SECRET = "what an unedited prompt makes the model say"
EDITED = "Hello there."


@dataclass
class Script:
    """An answer, as a target has it.

    Args:
        status: HTTP status.
        headers: As they stand on the wire.
        parts: The body, in the pieces that it is sent in.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    parts: Sequence[bytes]


Answering = Callable[[Recorded, Read], Script]


@dataclass
class FuzzEngine:
    """Answers requests of the fuzzer's by `answering`, all others as the fake engine of the server's tests."""

    answering: Answering
    requests: list[Recorded] = field(default_factory=list)
    """Of the fuzzer's, in order of arrival; whoever looks at them empties the list."""
    faults: list[str] = field(default_factory=list)
    """What no client of HTTP/1.1 may send."""
    everything: bool = False
    """Whether all requests count as the fuzzer's."""
    url: str = ""


class _Connection(asyncio.Protocol):
    def __init__(self, engine: FuzzEngine) -> None:
        self._engine = engine
        self._held = bytearray()
        self._busy: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._busy is not None:
            self._busy.cancel()

    def data_received(self, data: bytes) -> None:
        if self._busy is not None and not self._busy.done():
            self._engine.faults.append(f"bytes behind a request that was not answered yet: {data[:200]!r}")
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return
        line, *rest = bytes(self._held[:end]).split(b"\r\n")
        headers = [(name.lower(), value.strip(b" \t")) for name, _, value in (each.partition(b":") for each in rest)]
        lengths = [value for name, value in headers if name == b"content-length"]
        parts = line.split(b" ")
        sound = len(parts) == 3 and len(lengths) <= 1 and all(value.isdigit() for value in lengths)
        if not sound or any(name == b"transfer-encoding" or not name.strip() for name, _ in headers):
            self._engine.faults.append(f"a head that could be read in several ways: {bytes(self._held[:end])!r}")
            self._transport.abort()
            return
        size = int(lengths[0]) if lengths else 0
        if len(self._held) < end + 4 + size:
            return
        body = bytes(self._held[end + 4 : end + 4 + size])
        if len(self._held) > end + 4 + size:
            self._engine.faults.append(f"bytes behind a request: {bytes(self._held[end + 4 + size :])[:200]!r}")
        self._held.clear()
        request = Recorded(parts[0].decode("latin-1"), parts[1].decode("latin-1"), headers, body)
        self._busy = asyncio.ensure_future(self._answer(request))

    async def _answer(self, request: Recorded) -> None:
        if self._engine.everything or any(name == NUMBER for name, _ in request.headers):
            self._engine.requests.append(request)
            script = self._engine.answering(request, read(request))
        else:
            script = await _question(request)
        whole = len(script.parts) == 1
        framing = (b"content-length", b"%d" % len(script.parts[0])) if whole else (b"transfer-encoding", b"chunked")
        lines = [b"HTTP/1.1 %d Words" % script.status]
        lines += [name + b": " + value for name, value in [*script.headers, (b"x-engine", b"1"), framing]]
        head = b"\r\n".join([*lines, b"", b""])
        if whole:
            self._transport.write(head + (b"" if request.method == "HEAD" else script.parts[0]))
            return
        self._transport.write(head)
        for part in script.parts:
            if part:
                await _once_read()
                self._transport.write(b"%x\r\n%s\r\n" % (len(part), part))
        await _once_read()
        self._transport.write(b"0\r\n\r\n")


async def _once_read() -> None:
    """Lets whoever reads on this loop take what was written: each turn looks for bytes, and hands them on."""
    for _ in range(3):
        await asyncio.sleep(0)


async def _question(request: Recorded) -> Script:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    found = read(request)
    if found.generates:
        return sound(request, found)
    await DEFAULT_ROUTES.get(request.target, not_found)(FakeEngine(), request, send)
    return Script(sent[0]["status"], sent[0]["headers"][:1], [b"".join(each.get("body", b"") for each in sent)])


def sound(request: Recorded, found: Read) -> Script:
    """A sound answer of vLLM's on any route; where the prompt is unedited, it says what nobody may come to see."""
    if not found.generates:
        return Script(200, [(b"content-type", b"application/json")], [b'{"object":"nothing"}'])
    words = EDITED if found.token_ids is not None else SECRET
    ids = found.token_ids if found.token_ids is not None else [1, 2, 3]
    if found.fields.get("stream"):
        parts = [b"data: " + json.dumps(each).encode() + b"\n\n" for each in events(found.path, words, ids)]
        return Script(200, [(b"content-type", b"text/event-stream")], [*parts, b"data: [DONE]\n\n"])
    body = json.dumps(whole(found.path, words, ids)).encode()
    return Script(200, [(b"content-type", b"application/json")], [body])


def whole(path: str, words: str, ids: list[int]) -> dict[str, object]:
    """A whole answer, with the words that confirm the prompt."""
    if path == "/v1/messages":
        said = [{"type": "text", "text": words}]
        usage = {"input_tokens": len(ids), "output_tokens": 1}
        return {"id": "msg_1", "type": "message", "role": "assistant", "content": said, "usage": usage}
    if path == "/v1/responses":
        item = {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": words}]}
        echo = {"input_messages": [{"tokens": ids}], "output_messages": [{"tokens": [5]}]}
        return {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "error": None, **echo}
    said_once = {"message": {"role": "assistant", "content": words}} if path == "/v1/chat/completions" else {}
    choice: dict[str, object] = {"index": 0, "text": words, **said_once, "finish_reason": "stop", "token_ids": [5]}
    if path == "/v1/chat/completions":
        return {"id": "chatcmpl-1", "object": "chat.completion", "choices": [choice], "prompt_token_ids": ids}
    return {"id": "cmpl-1", "object": "text_completion", "choices": [choice | {"prompt_token_ids": ids}]}


def events(path: str, words: str, ids: list[int]) -> list[dict[str, object]]:
    """The data of a sound stream's events, less what ends it."""
    if path == "/v1/messages":
        usage = {"input_tokens": len(ids), "output_tokens": 0}
        start: dict[str, object] = {"type": "message_start", "message": {"id": "msg_1", "content": [], "usage": usage}}
        delta: dict[str, object] = {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "text_delta", "text": words},
        }
        return [start, delta, {"type": "message_stop"}]
    if path == "/v1/responses":
        created: dict[str, object] = {"type": "response.created", "response": {"id": "resp_1", "status": "in_progress"}}
        said: dict[str, object] = {"type": "response.output_text.delta", "delta": words}
        return [created, said, {"type": "response.completed", "response": whole(path, words, ids)}]
    choice: dict[str, object] = {"index": 0, "delta": {"content": words}, "text": words, "token_ids": [5]}
    if path == "/v1/chat/completions":
        return [{"id": "chatcmpl-1", "choices": [choice], "prompt_token_ids": ids}, {"choices": [choice]}]
    return [{"id": "cmpl-1", "choices": [choice | {"prompt_token_ids": ids}]}, {"choices": [choice]}]


@asynccontextmanager
async def serving(answering: Answering = sound) -> AsyncIterator[FuzzEngine]:
    """The engine on a loopback port, on the loop of whoever asks it."""
    engine = FuzzEngine(answering)
    listener = await asyncio.get_running_loop().create_server(lambda: _Connection(engine), "127.0.0.1", 0)
    engine.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield engine
    finally:
        listener.close()
