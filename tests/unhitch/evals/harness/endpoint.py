"""A chat endpoint of the tests' own: what a real engine cannot be made to show (counts, faults at a chosen moment)."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True)
class Reply:
    """What a scripted model says."""

    text: str = ""
    finish: str = "stop"
    tool_calls: Sequence[Mapping[str, Any]] = ()
    refused: str = ""
    """Why the proxy cannot make the edit, where it cannot."""
    params: Mapping[str, Any] | None = None
    """Its `kv_transfer_params`."""


def repeated(asked: Mapping[str, Any]) -> Reply:
    """The user's last words, with what the answer hangs on."""
    return Reply(f"{asked['messages'][-1]['content']} {asked['mitigation']} {asked.get('seed')}")


@dataclass
class Endpoint:
    """What it was asked, and how it answers."""

    port: int = 0
    seconds: float = 0.0
    refuse: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    """Status and code by the Unhitch-Mitigation header."""
    fail_after: int = sys.maxsize
    answer: Callable[[dict[str, Any]], Reply] = repeated
    """What is said to a request: its body, with "mitigation" and "session" as its headers have them."""
    models: Sequence[Mapping[str, Any]] = ()
    """Cards of the served models, as the proxy's route has them."""
    control_key: str = ""
    """What the cards are shown for, if anything."""
    requests: list[dict[str, Any]] = field(default_factory=list)
    answered: Counter[str] = field(default_factory=Counter)
    """How often each request was answered to the end."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        mitigation = request.headers["Unhitch-Mitigation"]
        asked = {"mitigation": mitigation, "session": request.headers.get("Unhitch-Session"), **body}
        self.requests.append(asked)
        if len(self.requests) > self.fail_after:
            return web.json_response({"error": {"message": "out of memory", "code": "engine_error"}}, status=500)
        if mitigation in self.refuse:
            status, code = self.refuse[mitigation]
            return web.json_response({"error": {"message": f"no {mitigation} here", "code": code}}, status=status)
        await asyncio.sleep(self.seconds)
        reply = self.answer(asked)
        if reply.refused:
            error = {"message": reply.refused, "code": "mitigation_unavailable"}
            return web.json_response({"error": error}, status=422)
        message = {"role": "assistant", "content": reply.text, "tool_calls": list(reply.tool_calls) or None}
        answer = web.json_response(
            {
                "id": "chatcmpl-1",
                "object": "chat.completion",
                "created": 1,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
                "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
                "kv_transfer_params": reply.params,
            },
            headers={"Unhitch-Applied": mitigation},
        )
        self.answered[f"{body['messages']} {mitigation} {body.get('seed')}"] += 1
        return answer

    async def cards(self, request: web.Request) -> web.Response:
        if self.control_key and request.headers.get("Authorization") != f"Bearer {self.control_key}":
            return web.json_response({"error": {"message": "no", "code": "invalid_api_key"}}, status=401)
        return web.json_response({"object": "list", "data": list(self.models)})


@contextmanager
def running(**members: Any) -> Iterator[Endpoint]:
    """The endpoint, in a thread with an event loop of its own."""
    endpoint = Endpoint(**members)
    loop, ready = asyncio.new_event_loop(), threading.Event()

    async def serve() -> web.AppRunner:
        application = web.Application()
        application.router.add_post("/v1/chat/completions", endpoint.chat)
        application.router.add_get("/unhitch/v1/models", endpoint.cards)
        runner = web.AppRunner(application)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", endpoint.port)
        await site.start()
        endpoint.port = runner.addresses[0][1]
        return runner

    def work() -> None:
        asyncio.set_event_loop(loop)
        runner = loop.run_until_complete(serve())
        loop.call_soon(ready.set)  # in the loop that `stop` ends, not in the one that has just ended
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield endpoint
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
