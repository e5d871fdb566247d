"""A small server on the loopback address that answers chat completions with the headers that the proxy sends."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from unhitch.headers import APPLIED, MITIGATION, RECEIPT, Receipt, format_receipt

RECEIPT_SENT = Receipt(
    before=bytes(range(32)),
    after=bytes(32),
    template=b"\xff" * 32,
    model="mödel",
    states=(b"\x01" * 32, b"\x02" * 32),
    pool=b"\x03" * 32,
    scorecard=b"\x04" * 32,
    tried=4,
    score=93.5,
    generated=120,
)
CHUNK = {"id": "1", "object": "chat.completion.chunk", "created": 0, "model": "m"}
COMPLETION = {
    "id": "1",
    "object": "chat.completion",
    "created": 0,
    "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "hello"}}],
}


async def _chat(request: Request) -> Response:
    """Says that what was asked for was applied; the model `engine` answers as if no proxy stood before it."""
    body = await request.json()
    headers = {
        APPLIED: request.headers.get(MITIGATION, "off"),
        RECEIPT: format_receipt(RECEIPT_SENT),
        "Server-Timing": 'cache;desc="hit, twice";dur=3, unhitch;dur=0.62',
    }
    if body["model"] == "engine":
        headers = {}
    if body["model"] == "missing":
        error = {
            "message": "no such model",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        }
        return JSONResponse({"error": error}, status_code=404, headers=headers)
    if body.get("stream"):
        return StreamingResponse(_chunks(), media_type="text/event-stream", headers=headers)
    return JSONResponse(COMPLETION, headers=headers)


async def _chunks() -> AsyncIterator[str]:
    delta = {"choices": [{"index": 0, "delta": {"content": "hello"}, "finish_reason": None}]}
    yield f"data: {json.dumps(CHUNK | delta)}\n\n"
    yield "data: [DONE]\n\n"


@pytest.fixture(scope="session")
def base_url() -> Iterator[str]:
    """Where the server listens, with the `/v1` that OpenAI clients expect."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = Starlette(routes=[Route("/v1/chat/completions", _chat, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    server.should_exit = True
    thread.join()
