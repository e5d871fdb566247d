"""Whole answers of the engine: of any status, damaged, in other encodings, and with other token ids than were sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.fuzz import engine as sound
from tests.fuzz import json_text as js
from tests.fuzz.confirming import WORDS, comparable, confirms, confirms_responses, decoded, only_fails
from tests.fuzz.engine import Script, serving
from tests.fuzz.front import HELLO, Answer, fronted, settle, unedited
from tests.fuzz.reading import Read
from tests.fuzz.running import Check
from tests.fuzz.tape import Tape
from tests.fuzz.targets.streams import _IDS, ASKS_FOR_IDS
from tests.server.fake_engine import Recorded

STATUSES = (200, 200, 200, 200, 200, 200, 201, 202, 204, 206, 301, 400, 404, 418, 429, 500, 502, 503, 504)
KINDS = (b"application/json", b"application/json", b"application/json", b"text/html", b"text/event-stream", b"")


@dataclass(frozen=True)
class Whole:
    """An answer that the engine gives.

    Args:
        path: The route.
        own_ids: Whether the client asked for token ids itself.
        stream: Whether it asked for a stream.
        recipe: Choices by which the answer is made of the ids that the engine is sent.
    """

    path: str
    own_ids: bool
    stream: bool
    recipe: bytes


def make(tape: Tape) -> Whole:
    """An answer."""
    return Whole(tape.one(sorted(HELLO)), tape.rarely(2), tape.rarely(4), tape.bytes(80).rstrip(b"\0"))


def script(whole: Whole, ids: list[int]) -> Script:
    """The answer on the wire."""
    tape = Tape(whole.recipe)
    said: Any = tape.one(_IDS)(ids)
    if whole.path == "/v1/messages" and not isinstance(said, list):
        said = []
    found = sound.whole(whole.path, WORDS, said)
    if tape.rarely(6):
        found["error"] = tape.one(({"message": "broken"}, {}, None, "broken", [1], {"message": None}))
    text = json.dumps(found, ensure_ascii=tape.rarely(2), separators=tape.one(((", ", ": "), (",", ":"))))
    if tape.rarely(3):
        text = js.mutated(tape, text)
    body = js.encoded(tape, text)
    status, kind = tape.one(STATUSES), tape.one(KINDS)
    headers = [(b"content-type", kind)] if kind else []
    if tape.rarely(8):
        odd = ((b"content-encoding", b"gzip"), (b"unhitch-applied", b"off"), (b"connection", b"x"), (b"x", b"\xff"))
        headers.append(tape.one(odd))
    return Script(status, headers, [b"" if status == 204 else body])


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """A proxy whose policy is locked."""
    async with serving() as engine, fronted(engine) as front:

        async def check(whole: Whole) -> str:
            ids: list[int] = []
            given: list[Script] = []

            def answering(_: Recorded, found: Read) -> Script:
                ids[:] = found.token_ids or []
                given[:] = [script(whole, ids)]
                return given[0]

            engine.answering = answering
            own = ASKS_FOR_IDS if whole.own_ids else {}
            body = json.dumps({**HELLO[whole.path], **own, "stream": whole.stream}).encode()
            answer, came = await front.ask("POST", whole.path.encode(), [], [body])
            settle(answer, whole.path)
            assert came
            assert not unedited(came, marked=True)
            return judge(whole, ids, given[0], answer)

        yield check


def judge(whole: Whole, ids: list[int], given: Script, answer: Answer) -> str:
    """Sees that nothing unconfirmed came through, and that what was confirmed came through as it was."""
    body, path = given.parts[0], whole.path
    if answer.own:
        assert answer.status == 502, answer
        assert WORDS.encode() not in answer.body
        return "502"
    assert answer.status == given.status
    if given.status >= 400:
        assert answer.body == body
        return "an error of the engine's, as it came"
    if WORDS.encode() in answer.body and (b"content-type", b"text/event-stream") not in given.headers:
        good = confirms_responses(decoded(body), ids) if path == "/v1/responses" else confirms(path, body, ids)
        assert good or only_fails(body), f"unconfirmed: {answer.body!r}"
    if answer.body == body:
        return "200, as it came"
    assert not whole.own_ids, f"{body!r} became {answer.body!r}"
    stripped = comparable(body, strip=True)
    assert comparable(answer.body, strip=False) == stripped, f"{body!r} became {answer.body!r}"
    return "200, less token ids"
