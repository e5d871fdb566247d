"""The faults of an engine, and what a client is to get for each."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

from tests.server.fake_engine import MODEL, FakeEngine, completion
from tests.server.faults.bad_engine import SECRET, Handler, Wire

HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
PERTURB = {"Unhitch-Mitigation": "perturb;seed=1"}
OFF = {"Unhitch-Mitigation": "off"}

ERROR = "error object"
ENGINES = "the engine's answer as it is"
EVENT = "the answer so far, then an error event"
CUT = "the answer so far, then the connection ends"
WITHHELD = "error object; the answer is withheld"


@dataclass(frozen=True)
class Case:
    """One fault, and what comes of it.

    Args:
        fault: What the engine does.
        handler: Does it.
        status: Of a mitigated answer.
        gets: What the client of a mitigated request gets.
        stream: Whether the request is for a stream.
        off_status: Where the request is passed through as it came.
        off_gets: The same.
    """

    fault: str
    handler: Handler
    status: int
    gets: str
    stream: bool = False
    off_status: int | None = None
    off_gets: str | None = None

    def expected(self, mitigation: str) -> tuple[int, str]:
        """Status, and what the client gets."""
        if mitigation == "off":
            return self.off_status or self.status, self.off_gets or self.gets
        return self.status, self.gets


async def reset(wire: Wire) -> None:
    wire.reset()


async def reset_in_stream(wire: Wire) -> None:
    await wire.first_event()
    await asyncio.sleep(0.1)
    wire.reset()


async def half_a_chunk(wire: Wire) -> None:
    await wire.first_event()
    await wire.raw(b"64\r\ndata: {")
    wire.close()


async def half_an_answer(wire: Wire) -> None:
    body = json.dumps(completion(wire.request, FakeEngine())).encode()
    await wire.head(200, "Content-Type: application/json", f"Content-Length: {len(body)}")
    await wire.raw(body[:20])
    await asyncio.sleep(0.05)
    wire.reset()


async def hang(wire: Wire) -> None:
    await asyncio.sleep(60)


async def hang_after_head(wire: Wire) -> None:
    await wire.begin_stream()
    await asyncio.sleep(60)


async def fall_silent(wire: Wire) -> None:
    await wire.first_event()
    await asyncio.sleep(60)


async def garbage(wire: Wire) -> None:
    await wire.raw(b"SSH-2.0-OpenSSH_9.6\r\n" + bytes(range(256)))
    wire.close()


async def garbage_in_stream(wire: Wire) -> None:
    await wire.first_event()
    await asyncio.sleep(0.1)
    await wire.raw(b"not a chunk\r\n\r\n")
    await asyncio.sleep(60)


async def too_long_a_length(wire: Wire) -> None:
    body = json.dumps(completion(wire.request, FakeEngine())).encode()
    await wire.head(200, "Content-Type: application/json", f"Content-Length: {len(body) + 50}")
    await wire.raw(body)
    wire.close()


async def too_short_a_length(wire: Wire) -> None:
    body = json.dumps(completion(wire.request, FakeEngine())).encode()
    await wire.head(200, "Content-Type: application/json", f"Content-Length: {len(body) - 50}")
    await wire.raw(body)
    await asyncio.sleep(0.2)


async def no_edit(wire: Wire) -> None:
    answer = completion(wire.request, FakeEngine(takes_token_ids=False))
    if wire.streamed:
        await wire.begin_stream()
        await wire.event(SECRET, [1, 2, 3])
        await wire.raw(b"0\r\n\r\n")
        return
    answer["choices"][0]["message"]["content"] = SECRET
    await wire.whole(200, json.dumps(answer).encode())


async def no_echo(wire: Wire) -> None:
    await wire.begin_stream()
    await wire.event(SECRET)
    await wire.raw(b"0\r\n\r\n")


OWN = b'{"error":  {"message": "the engine\'s own words", "code": 0}}'


def answers(status: int) -> Handler:
    async def refuse(wire: Wire) -> None:
        await wire.whole(status, OWN, "Retry-After: 7", "X-Engine: yes")

    return refuse


CASES = [
    Case("reset before the answer", reset, 503, ERROR),
    Case("reset before the stream", reset, 503, ERROR, stream=True),
    Case("reset within the answer", half_an_answer, 502, ERROR, off_status=200, off_gets=CUT),
    Case("reset within the stream", reset_in_stream, 200, EVENT, stream=True),
    Case("half a chunk, then the end", half_a_chunk, 200, EVENT, stream=True),
    Case("hangs before the answer", hang, 504, ERROR),
    Case("hangs before the stream", hang, 504, ERROR, stream=True),
    Case("hangs before the first token", hang_after_head, 504, ERROR, stream=True, off_status=200, off_gets=EVENT),
    Case("falls silent within the stream", fall_silent, 200, EVENT, stream=True),
    Case("429", answers(429), 429, ENGINES),
    Case("500", answers(500), 500, ENGINES),
    Case("502", answers(502), 502, ENGINES),
    Case("503", answers(503), 503, ENGINES),
    Case("503 to a stream", answers(503), 503, ENGINES, stream=True),
    Case("garbage instead of HTTP", garbage, 502, ERROR),
    Case("garbage within the stream", garbage_in_stream, 200, EVENT, stream=True),
    Case("Content-Length too large", too_long_a_length, 502, ERROR, off_status=200, off_gets=CUT),
    Case("Content-Length too small", too_short_a_length, 502, ERROR),
    Case("does not make the edit", no_edit, 502, WITHHELD, off_status=200, off_gets=ENGINES),
    Case("does not make the edit of a stream", no_edit, 502, WITHHELD, stream=True, off_status=200, off_gets=ENGINES),
    Case("does not confirm the edit", no_echo, 502, WITHHELD, stream=True, off_status=200, off_gets=ENGINES),
]
