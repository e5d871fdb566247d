"""What tests of the proxy ask, and how they read its errors."""

from __future__ import annotations

import json
from typing import Any

import httpx
from starlette.types import Send

from tests.server.fake_engine import (
    MODEL,
    FakeEngine,
    Handler,
    Recorded,
    begin_stream,
    completion,
    event,
    reply_json,
)

CHAT = "/v1/chat/completions"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
PERTURB = {"Unhitch-Mitigation": "perturb;seed=1"}


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error


def answering(status: int, body: object, *headers: tuple[bytes, bytes]) -> Handler:
    """A route that lets the probe of the chat route through and answers all else as given."""

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


def streaming(*events: object) -> Handler:
    """A chat route that gives these events to whoever asks for a stream, and answers all else as ever."""

    async def handler(fake: FakeEngine, request: Recorded, send: Send) -> None:
        if not request.json.get("stream"):
            return await reply_json(send, completion(request, fake))
        await begin_stream(send)
        for each in events:
            await event(send, each)
        await send({"type": "http.response.body", "body": b""})
        return None

    return handler
