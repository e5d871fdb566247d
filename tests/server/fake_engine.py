"""A fake of vLLM on a loopback port, for faults that the real one cannot be made to show."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import uvicorn
from starlette.types import Message, Receive, Scope, Send

from unhitch import organisms
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch_server.network import free_port
from unhitch_server.serving import Server, listening

if TYPE_CHECKING:
    from tests.server.fake_connector import FakeConnector

MODEL = "mini-base"
ADAPTER = "mini-finance"


@dataclass
class Recorded:
    """One request as it reached the engine."""

    method: str
    target: str
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return next((v.decode() for k, v in self.headers if k.decode() == name.lower()), None)


Handler = Callable[["FakeEngine", Recorded, Send], Awaitable[None]]


@dataclass
class FakeEngine:
    """Answers probes as vLLM does and lets a test take over any route."""

    takes_token_ids: bool = True
    root: str = str(organisms.path(MODEL))
    chat_template: str | None = None
    connector: FakeConnector | None = None
    """What serves states; an engine that has one serves the adapter, too."""
    routes: dict[str, Handler] = field(default_factory=dict)
    requests: list[Recorded] = field(default_factory=list)
    background: list[asyncio.Task[None]] = field(default_factory=list)
    cancelled: int = 0
    url: str = ""

    def asked(self, target: str) -> list[Recorded]:
        return [request for request in self.requests if request.target == target]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"
        body, more = b"", True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        request = Recorded(scope["method"], target, list(scope["headers"]), body)
        self.requests.append(request)
        watch = asyncio.ensure_future(_disconnected(receive))
        work = asyncio.ensure_future(self._answer(request, send))
        await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
        if not work.done():
            self.cancelled += 1
            work.cancel()
        watch.cancel()
        await asyncio.gather(watch, work, return_exceptions=True)

    async def _answer(self, request: Recorded, send: Send) -> None:
        connector = self.connector
        own = connector.route(request) if connector else None
        handler = self.routes.get(request.target) or own or DEFAULT_ROUTES.get(request.target, not_found)

        async def marked(message: Message) -> None:
            if connector and message["type"] == "http.response.start":
                message = {**message, "headers": [*message["headers"], *connector.headers]}
            await send(message)

        await handler(self, request, marked)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def reply(send: Send, status: int, body: bytes, content_type: bytes = b"application/json") -> None:
    headers = [(b"content-type", content_type), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def reply_json(send: Send, value: object, status: int = 200) -> None:
    await reply(send, status, json.dumps(value).encode())


async def begin_stream(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})


async def event(send: Send, data: object) -> None:
    text = data if isinstance(data, str) else json.dumps(data)
    await send({"type": "http.response.body", "body": f"data: {text}\n\n".encode(), "more_body": True})


def completion(request: Recorded, engine: FakeEngine) -> dict[str, Any]:
    """A chat completion with the token ids that a real engine would say that it read."""
    sent = (request.json.get("kv_transfer_params") or {}).get("prompt_token_ids")
    ids = sent if engine.takes_token_ids and sent is not None else [1, 2, 3]
    wanted = request.json.get("return_token_ids")
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": request.json.get("model"),
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Hi.", "engine_field": {"x": 1e2}},
                "finish_reason": "stop",
                "token_ids": [5] if wanted else None,
            }
        ],
        "usage": {"prompt_tokens": len(ids), "completion_tokens": 1, "total_tokens": len(ids) + 1},
        "prompt_token_ids": ids if wanted else None,
        "kv_transfer_params": None,
        "engine_field": 12345678901234567890123,
    }


async def chat(engine: FakeEngine, request: Recorded, send: Send) -> None:
    await reply_json(send, completion(request, engine))


async def models(engine: FakeEngine, request: Recorded, send: Send) -> None:
    served = [{"id": MODEL, "root": engine.root, "parent": None}]
    if engine.connector:
        served.append({"id": ADAPTER, "root": str(organisms.path(ADAPTER)), "parent": MODEL})
    await reply_json(send, {"object": "list", "data": served})


@cache
def opened(chat_template: str | None) -> Checkpoint:
    return Checkpoint.open(organisms.path(MODEL), chat_template=chat_template)


async def tokenize(engine: FakeEngine, request: Recorded, send: Send) -> None:
    checkpoint = opened(engine.chat_template)
    conversation = Conversation.from_body(request.json, content_format=checkpoint.content_format)
    ids = render(checkpoint, conversation).token_ids
    await reply_json(send, {"tokens": list(ids), "count": len(ids)})


async def version(engine: FakeEngine, request: Recorded, send: Send) -> None:
    await reply_json(send, {"version": "0.1.fake"})


async def not_found(engine: FakeEngine, request: Recorded, send: Send) -> None:
    await reply_json(send, {"detail": "Not Found"}, 404)


DEFAULT_ROUTES: dict[str, Handler] = {
    "/v1/chat/completions": chat,
    "/v1/models": models,
    "/tokenize": tokenize,
    "/version": version,
}


@asynccontextmanager
async def serving(engine: FakeEngine, port: int | None = None) -> AsyncIterator[FakeEngine]:
    port = port or free_port()
    config = uvicorn.Config(engine, host="127.0.0.1", port=port, log_level="error", lifespan="off", access_log=False)
    engine.url = f"http://127.0.0.1:{port}"
    async with listening(Server(config)):
        yield engine
