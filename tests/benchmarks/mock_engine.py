"""A mock of vLLM that costs as little as it can, so that what is measured is the proxy: `python -m ... PORT`.

It answers probes as the fake of the tests does, and chat completions at once: plain, or as a stream of 64 chunks.
"""

from __future__ import annotations

import json
import sys

import uvicorn
from starlette.types import Send

from tests.server.fake_engine import DEFAULT_ROUTES, FakeEngine, Recorded, begin_stream, chat

CHUNKS = 64


async def answer(engine: FakeEngine, request: Recorded, send: Send) -> None:
    fields = request.json
    if not fields.get("stream"):
        return await chat(engine, request, send)
    ids = (fields.get("kv_transfer_params") or {}).get("prompt_token_ids")
    wanted = bool(fields.get("return_token_ids"))
    await begin_stream(send)
    for index in range(CHUNKS):
        chunk = {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": fields["model"],
            "choices": [
                {
                    "index": 0,
                    "delta": {"content": "token "},
                    "finish_reason": None,
                    "token_ids": [index] if wanted else None,
                }
            ],
        }
        if index == 0:
            chunk["prompt_token_ids"] = ids if wanted else None
        body = f"data: {json.dumps(chunk)}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})
    return None


if __name__ == "__main__":
    engine = FakeEngine(routes={**DEFAULT_ROUTES, "/v1/chat/completions": answer})
    uvicorn.run(engine, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off")
