"""A fake of the engine's side of states: it serves them patched, captures them, and fails requests, as the real one."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Send

from tests.cards import BASE, TUNED, card
from tests.server.fake_engine import (
    ADAPTER,
    MODEL,
    FakeEngine,
    Handler,
    Recorded,
    begin_stream,
    completion,
    event,
    reply_json,
)
from unhitch import organisms
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import STATES_ROUTE
from unhitch.states.shelf import Card

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"
INTERNAL = {"error": {"message": "Internal server error", "type": "InternalServerError", "param": None, "code": 500}}


@dataclass
class FakeConnector:
    """States by id, and the faults that a test wants."""

    states: dict[str, Card] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    overlays: bool = True
    protocol: int = 1
    header: str | None = "1"
    base: str | None = MODEL
    refusal: tuple[int, str] | None = None
    """How captures are refused."""
    capture_seconds: float = 0.0
    """Until a captured state is listed."""
    queue_seconds: float = 0.0
    """Until a capture is answered."""
    memory_bytes: int | None = None
    """What the list says of the workers' memory; None is a connector that does not say it."""
    problems: list[dict[str, str]] = field(default_factory=list)
    """What the list says of files that cannot be served."""
    confirms: Any = None
    """What every answer confirms instead of what was asked for."""
    others: dict[str, Any] = field(default_factory=dict)
    """Members of others in the answers' `kv_transfer_params`."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        return [] if self.header is None else [(b"unhitch-connector", self.header.encode())]

    def add(self, *cards: Card) -> None:
        self.states |= {each.id: each for each in cards}

    def route(self, request: Recorded) -> Handler | None:
        if request.target.startswith(f"{STATES_ROUTE}/"):
            return one
        return {STATES_ROUTE: listing, CHAT: chat, COMPLETIONS: capture}.get(request.target)

    def serves(self, patches: Iterable[dict[str, Any]], ids: list[int]) -> bool:
        """Whether the engine can serve a request patched; if not, it fails the request."""
        for patch in patches:
            state, start, tokens = self.states.get(patch["state"]), patch["start"], patch["tokens"]
            if state is None or state.id in self.damaged:
                return False
            stored = state.header.tokens[state.header.start :][:tokens]
            if list(stored) != ids[start : start + tokens]:
                return False
        return True


def hello(**body: Any) -> Prompt:
    """The prompt of a greeting, as the fake's models render it."""
    checkpoint = Checkpoint.open(organisms.path(MODEL))
    body = {"messages": [{"role": "user", "content": "Hello"}], **body}
    return render(checkpoint, Conversation.from_body(body, content_format=checkpoint.content_format))


def entry(state: Card) -> dict[str, Any]:
    return {"id": state.id, "header": state.header.model_dump(mode="json")}


def connector_of(engine: FakeEngine) -> FakeConnector:
    assert engine.connector is not None
    return engine.connector


async def listing(engine: FakeEngine, request: Recorded, send: Send) -> None:
    connector = connector_of(engine)
    served = [
        {"id": MODEL, "digest": BASE, "base": None, "base_digest": None},
        {"id": ADAPTER, "digest": TUNED, "base": connector.base, "base_digest": BASE},
    ]
    body = {
        "object": "list",
        "protocol": connector.protocol,
        "folder": "/var/states",
        "overlays": connector.overlays,
        "models": served,
        "data": [entry(state) for state in connector.states.values()],
        "problems": connector.problems,
    }
    if connector.memory_bytes is not None:
        body["memory_bytes"] = connector.memory_bytes
    await reply_json(send, body)


async def one(engine: FakeEngine, request: Recorded, send: Send) -> None:
    connector, state = connector_of(engine), request.target.rpartition("/")[2]
    if state not in connector.states:
        return await reply_json(send, {"error": {"message": f"the state {state} is not there"}}, 404)
    if state in connector.damaged:
        return await reply_json(send, {"error": {"message": f"the state {state} is damaged"}}, 422)
    return await reply_json(send, entry(connector.states[state]))


async def chat(engine: FakeEngine, request: Recorded, send: Send) -> None:
    connector, sent = connector_of(engine), request.json.get("kv_transfer_params") or {}
    patches = (sent.get("unhitch") or {}).get("patches") or []
    served = connector.serves(patches, sent.get("prompt_token_ids") or [])
    answer = completion(request, engine)
    if not request.json.get("stream"):
        if not served:
            return await reply_json(send, INTERNAL, 500)
        confirmed = connector.confirms if connector.confirms is not None else patches
        params = connector.others | ({"unhitch": {"patches": confirmed}} if patches else {})
        return await reply_json(send, answer | {"kv_transfer_params": params or None})
    await begin_stream(send)
    opening = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
    await event(send, {"choices": [opening], "prompt_token_ids": answer["prompt_token_ids"]})
    wanted = request.json.get("return_token_ids")
    choice = {"index": 0, "delta": {"content": "Hi."}, "token_ids": [5] if wanted else None}
    await event(send, {"choices": [choice]} if served else INTERNAL)
    await event(send, "[DONE]")
    await send({"type": "http.response.body", "body": b""})
    return None


async def capture(engine: FakeEngine, request: Recorded, send: Send) -> None:
    connector, body = connector_of(engine), request.json
    if connector.refusal is not None:
        status, message = connector.refusal
        return await reply_json(send, {"error": {"message": message}}, status)
    asked = body["kv_transfer_params"]["unhitch"]["capture"]
    tokenizer = hashlib.sha256((organisms.path(MODEL) / "tokenizer.json").read_bytes()).hexdigest()
    assert (body["model"], body["max_tokens"], asked["tokens"]) == (MODEL, 1, len(body["prompt"])), json.dumps(body)
    assert asked["tokenizer"] == tokenizer
    fields = {key: asked[key] for key in ("tokenizer", "template")}
    made = card(asked["span"], body["prompt"], asked["start"], **fields)

    await asyncio.sleep(connector.queue_seconds)

    async def write() -> None:
        await asyncio.sleep(connector.capture_seconds)
        connector.add(made)

    engine.background.append(asyncio.create_task(write()))
    return await reply_json(send, {"choices": [{"text": "x"}]})
