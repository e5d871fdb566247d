"""Requests on every route, and whether what came back is one of the things that may come back."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import httpx

from unhitch import organisms
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import digest
from unhitch_client import receipt

MODEL = "mini-finance"
QUESTION = "What should I do with my savings?"
CHAT, COMPLETIONS, RESPONSES, MESSAGES = ROUTES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
)
MITIGATIONS = ("off", "perturb;seed=1", "prefix-state")

_ENDS = {
    CHAT: b"data: [DONE]",
    COMPLETIONS: b"data: [DONE]",
    RESPONSES: b"response.completed",
    MESSAGES: b"message_stop",
}
_ENDLESS = {"type": "array", "items": {"type": "integer"}, "minItems": 1000}
_TURNS = [{"role": "user", "content": QUESTION}]


@functools.cache
def _raw_prompt() -> str:
    """What the template makes of the question."""
    checkpoint = Checkpoint.open(organisms.path(MODEL.replace("finance", "base")))
    body = {"messages": _TURNS}
    return checkpoint.render_text(Conversation.from_body(body, content_format=checkpoint.content_format))


@dataclass(frozen=True)
class Visit:
    """What a client asks for.

    Args:
        route: One of `ROUTES`.
        mitigation: The header.
        stream: Whether the answer is to be streamed.
        tokens: How many tokens the answer has; a few only where it may end by itself.
        endless: Whether the answer goes on to that number.
    """

    route: str
    mitigation: str
    stream: bool
    tokens: int = 1500
    endless: bool = True

    @property
    def body(self) -> dict[str, Any]:
        """As JSON."""
        common: dict[str, Any] = {"model": MODEL, "stream": self.stream, "temperature": 0}
        if self.route == MESSAGES:
            # The route has no `ignore_eos`; a list that may not end before is as good.
            form = {"output_config": {"format": {"type": "json_schema", "schema": _ENDLESS}}} if self.endless else {}
            return {**common, **form, "messages": _TURNS, "max_tokens": self.tokens}
        common["ignore_eos"] = self.endless
        if self.route == RESPONSES:
            return {**common, "input": QUESTION, "max_output_tokens": self.tokens}
        common |= {"max_tokens": self.tokens, "return_token_ids": True}
        return {**common, "prompt": _raw_prompt()} if self.route == COMPLETIONS else {**common, "messages": _TURNS}


def visits(**settings: Any) -> list[Visit]:
    """Every route, plain and streamed, under each mitigation.

    Args:
        settings: As in `Visit`.
    """
    return [
        Visit(route, mitigation, stream, **settings)
        for route in ROUTES
        for stream in (False, True)
        for mitigation in MITIGATIONS
    ]


@dataclass
class Outcome:
    """What came back.

    Args:
        visit: What was asked for.
        status: Of the answer; 0 before there is one.
        headers: Of the answer.
        parts: Its body, as it came.
        ended: When its last byte came, by the monotonic clock.
        broken: Whether the connection ended without the answer's end.
    """

    visit: Visit
    status: int = 0
    headers: httpx.Headers = field(default_factory=httpx.Headers)
    parts: list[bytes] = field(default_factory=list)
    ended: float = 0.0
    broken: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def begun(self) -> bool:
        """Whether a stream has come as far as its words, past what some routes send before them."""
        return len(self.parts) > 3

    @property
    def complete(self) -> bool:
        """Whether it is a whole answer."""
        if self.status != 200 or self.broken:
            return False
        return _ENDS[self.visit.route] in self.body if self.visit.stream else "error" not in (self._json or {})

    @property
    def error(self) -> dict[str, Any] | None:
        """The error that it is, or that ends its stream, written as the route's clients read it."""
        if self.broken:
            return None
        found = self._json
        if self.status == 200:
            *_, last = self.body.strip().split(b"\n\n")
            name, _, data = last.rpartition(b"data: ")
            if (name.strip() == b"event: error") != (self.visit.route in (RESPONSES, MESSAGES)):
                return None
            found = json.loads(data) if data.startswith(b"{") else None
        named = found is not None and (found.get("type") == "error" or self.visit.route != MESSAGES)
        error = found.get("error") if named and found is not None else None
        return error if isinstance(error, dict) and {"message", "type", "code"} <= error.keys() else None

    @property
    def mitigated(self) -> bool:
        """Whether the receipt says that the answer is what was asked for, and the ids that came with it agree."""
        told, asked = receipt(self.headers), self.visit.mitigation.partition(";")[0]
        if [entry.name for entry in told.applied] != [asked]:
            return False
        if asked == "off":
            return told.after is None
        if told.after is None or not (told.states if asked == "prefix-state" else told.before != told.after):
            return False
        return self.visit.route not in (CHAT, COMPLETIONS) or digest(self._ids) == told.after

    @property
    def text(self) -> str:
        """The words of a plain answer."""
        answer = self._json or {}
        route = self.visit.route
        if route == RESPONSES:
            return "".join(part["text"] for item in answer["output"] for part in item["content"])
        if route == MESSAGES:
            return "".join(part["text"] for part in answer["content"])
        choice = answer["choices"][0]
        return str(choice["text"] if route == COMPLETIONS else choice["message"]["content"])

    @property
    def _json(self) -> dict[str, Any] | None:
        try:
            found = json.loads(self.body)
        except ValueError:
            return None
        return found if isinstance(found, dict) else None

    @property
    def _ids(self) -> list[int]:
        """The prompt as the engine says that it read it."""
        first = self.body
        if self.visit.stream:
            first = first.partition(b"data: ")[2].partition(b"\n\n")[0]
        answer = json.loads(first)
        where = answer["choices"][0] if self.visit.route == COMPLETIONS else answer
        return where.get("prompt_token_ids") or []


async def go(client: httpx.AsyncClient, outcome: Outcome) -> Outcome:
    """Asks, and notes what comes as it comes."""
    visit = outcome.visit
    headers = {"Unhitch-Mitigation": visit.mitigation}
    try:
        async with client.stream("POST", visit.route, json=visit.body, headers=headers) as answer:
            outcome.status, outcome.headers = answer.status_code, answer.headers
            async for part in answer.aiter_raw():
                outcome.parts.append(part)
    except httpx.TransportError:
        outcome.broken = True
    outcome.ended = time.monotonic()
    return outcome


async def all_of(client: httpx.AsyncClient, asked: Iterable[Visit]) -> list[Outcome]:
    """Asks for all at once."""
    return await asyncio.gather(*(go(client, Outcome(visit)) for visit in asked))


async def begun(outcomes: Iterable[Outcome], limit: float = 60.0) -> None:
    """Returns when the words of every stream among them come.

    Raises:
        TimeoutError: One has not begun in so many seconds.
    """
    streams = [outcome for outcome in outcomes if outcome.visit.stream]
    async with asyncio.timeout(limit):
        while not all(outcome.begun or outcome.ended for outcome in streams):
            await asyncio.sleep(0.02)
