"""Streams of the engine: cut anywhere, with any line ends, and with confirmations that are wrong or not there."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.fuzz import engine as answers
from tests.fuzz import json_text as js
from tests.fuzz.confirming import WORDS, comparable, confirms, decoded, events, fails
from tests.fuzz.engine import Script, serving
from tests.fuzz.front import HELLO, Answer, fronted, settle, unedited
from tests.fuzz.reading import Read
from tests.fuzz.running import Check
from tests.fuzz.tape import Tape
from tests.server.fake_engine import Recorded

ASKS_FOR_IDS = {"return_token_ids": True, "enable_response_messages": True}
"""Members by which a client asks itself for what confirms its prompt; then nothing goes from its answer."""

_GARBAGE = (
    b": keep-alive", b"data", b"data:", b"data: [DONE]", b"event: ping", b'data: {"type": "ping"}', b"id: 1",
    b"retry: 5", b"nonsense", b"data: {", b"data: null",
    b"data: []", b'data: {"error": {"message": "broken"}}', b"\xef\xbb\xbf",
    b'event: error\ndata: {"type": "error", "error": {"message": "broken"}}', b"\xff\xfe", b"data\t: x", b" data: x",
    b'data: {"choices": [], "error": {"message": "x"}}', b"data: " + WORDS.encode(), b"\0",
)  # fmt: skip
_IDS: tuple[Callable[[list[int]], object], ...] = (
    lambda ids: ids,
    lambda ids: ids,
    lambda ids: ids,
    lambda ids: ids[:-1],
    lambda ids: [*ids, 0],
    lambda _: None,
    lambda ids: str(ids),
    lambda _: [],
    lambda ids: [float(each) for each in ids],
)
"""What the engine says that it read."""


@dataclass(frozen=True)
class Streamed:
    """A stream that the engine answers with.

    Args:
        path: The route.
        own_ids: Whether the client asked for token ids itself.
        recipe: Choices by which the stream is made of the ids that the engine is sent.
    """

    path: str
    own_ids: bool
    recipe: bytes


def make(tape: Tape) -> Streamed:
    """A stream."""
    return Streamed(tape.one(sorted(HELLO)), tape.rarely(2), tape.bytes(100).rstrip(b"\0"))


def parts(streamed: Streamed, ids: list[int]) -> list[bytes]:
    """The bytes of the stream, as they are sent."""
    tape = Tape(streamed.recipe)
    whole = b"".join(_event(tape, each) for each in _texts(tape, streamed.path, ids))
    if tape.rarely(8):
        whole = whole[: tape.number(len(whole))]
    places = sorted({tape.number(len(whole)) for _ in range(tape.number(6))})
    return [whole[start:stop] for start, stop in zip([0, *places], [*places, len(whole)], strict=True)]


def _texts(tape: Tape, path: str, ids: list[int]) -> list[str | bytes]:
    said = tape.one(_IDS)(ids)
    counted = said if isinstance(said, list) else []
    sound = answers.events(path, WORDS, counted if path == "/v1/messages" else said)  # type: ignore[arg-type]
    texts: list[str | bytes] = [json.dumps(each, ensure_ascii=False) for each in sound]
    texts.append("[DONE]")
    for _ in range(tape.number(3)):
        at = tape.number(len(texts) - 1)
        how = tape.number(5)
        if how == 0:
            texts.insert(at, tape.one(_GARBAGE))
        elif how == 1:
            texts.insert(at, texts[tape.number(len(texts) - 1)])
        elif how == 2 and len(texts) > 1:
            texts.pop(at)
        elif how == 3:
            texts.append(texts.pop(at))
        elif isinstance(text := texts[at], str):
            texts[at] = js.mutated(tape, text)
    return texts


def _event(tape: Tape, text: str | bytes) -> bytes:
    end = tape.one((b"\n", b"\n", b"\n", b"\r\n", b"\r"))
    blank = tape.one((end, end, end, end, b"\n", b"\r\n", b"\r"))
    if isinstance(text, bytes):
        return text.replace(b"\n", end) + end + (blank if tape.rarely(2) else b"")
    lines = [text]
    if tape.rarely(6) and text.startswith("{"):
        lines = text.replace(", ", ",\n").split("\n")  # newlines within strings would be no JSON
    before = tape.one((b"", b"", b"", b"event: x" + end, b": said" + end, b"id: 7" + end, b"retry:1" + end))
    colon = tape.one((b"data: ", b"data: ", b"data:"))
    return before + b"".join(colon + line.encode("utf-8", "surrogatepass") + end for line in lines) + blank


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """A proxy whose policy is locked."""
    async with serving() as engine, fronted(engine) as front:

        async def check(streamed: Streamed) -> str:
            sent: list[bytes] = []
            ids: list[int] = []

            def answering(_: Recorded, found: Read) -> Script:
                ids[:] = found.token_ids or []
                sent[:] = parts(streamed, ids)
                return Script(200, [(b"content-type", b"text/event-stream")], [b"", *sent])

            engine.answering = answering
            own = ASKS_FOR_IDS if streamed.own_ids else {}
            body = json.dumps({**HELLO[streamed.path], **own, "stream": True}).encode()
            answer, came = await front.ask("POST", streamed.path.encode(), [], [body])
            settle(answer, streamed.path)
            assert len(came) == 1
            assert not unedited(came, marked=True)
            return judge(streamed, ids, b"".join(sent), answer)

        yield check


def judge(streamed: Streamed, ids: list[int], sent: bytes, answer: Answer) -> str:
    """Sees that nothing unconfirmed came through, and that what was confirmed came through as it was."""
    told = [data for _, data in events(sent)]
    first = next((each for each in told if not fails(each) and b'"ping"' not in each), b"")
    if WORDS.encode() in answer.body:
        assert any(confirms(streamed.path, each, ids) for each in told), f"unconfirmed: {answer.body!r} of {sent!r}"
    if answer.status != 200:
        assert answer.status == 502, answer
        return f"{answer.status}"
    if not any(fails(each) for each in told):
        assert confirms(streamed.path, first, ids), f"unconfirmed: {answer.body!r} of {sent!r}"
    if answer.body == sent:
        return "200, as it came"
    strip = not streamed.own_ids
    got = [(name, comparable(data, strip=strip)) for name, data in events(answer.body)]
    due = [(name, comparable(data, strip=strip)) for name, data in events(sent)]
    if strip:
        known = [data for _, data in events(answer.body) if _is_known(streamed.path, data)]
        left = [data for data in known if comparable(data, strip=False) != comparable(data, strip=True)]
        assert not left, f"token ids that the client did not ask for: {left}"
    if got == due:
        assert strip, f"{sent!r} became {answer.body!r}"
        return "200, less token ids"
    kept = [each for each, other in zip(got, due, strict=False) if each == other]
    assert len(got) == len(kept) + 1, f"{sent!r} became {answer.body!r}"
    assert fails(list(events(answer.body))[-1][1]), f"{sent!r} became {answer.body!r}"
    return "200, ended by an error"


def _is_known(path: str, data: bytes) -> bool:
    """Whether an event is one in which token ids have their place; in one that is not, nothing is changed."""
    found = decoded(data)
    return (
        found.get("type") in ("response.completed", "response.incomplete") if path == "/v1/responses" else bool(found)
    )
