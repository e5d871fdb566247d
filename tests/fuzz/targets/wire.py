"""Bytes on a socket: HTTP/1.1 that is malformed, ambiguous, cut short, or pipelined, to a real listener."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.engine import SECRET, serving
from tests.fuzz.front import HELLO, settings_for, unedited
from tests.fuzz.running import Check
from tests.fuzz.tape import Tape
from unhitch_server.draining import Draining
from unhitch_server.network import free_port
from unhitch_server.serving import listening, server

_LINES = (
    b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding: xchunked", b"Content-Length: 5",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: identity",
    b"Content-Length: +5", b"Content-Length: -1", b"Content-Length: 0x10", b"Content-Length: 5, 5", b"Content-Length:",
    b"Content-Length: 99999999999999999999", b"Content-Length: 0", b" folded", b"\tfolded: off", b"X: a\x00b",
    b"X: \xff", b"Unhitch-Mitigation: off", b"Unhitch-Mitigation : off", b"UNHITCH-MITIGATION: off",
    b"Unhitch_Mitigation: off",
    b"Unhitch-Policy: plain", b"Connection: Unhitch-Mitigation", b"Connection: close", b"Connection: upgrade",
    b"Upgrade: websocket", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA", b"Expect: 100-continue",
    b"Trailer: Unhitch-Mitigation", b"Host: a", b": x", b"X", b"", b"X: " + b"a" * 70_000, b"X: a\rb",
    b"Content-Encoding: gzip", b"X-HTTP-Method-Override: GET", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Content-Type: application/json; charset=utf-16", b"Cookie: unhitch-mitigation=off",
)  # fmt: skip
_FIRST = (
    b"POST %s HTTP/1.1", b"POST %s HTTP/1.0", b"POST http://a%s HTTP/1.1", b"POST %s?Unhitch-Mitigation=off HTTP/1.1",
    b"POST  %s HTTP/1.1", b"POST %s", b"post %s HTTP/1.1", b"POST %s HTTP/2.0", b"POST %s#x HTTP/1.1",
    b"GET %s HTTP/1.1",
    b"POST *%s HTTP/1.1", b"POST /%s HTTP/1.1", b"OPTIONS * HTTP/1.1", b"CONNECT a:1 HTTP/1.1", b"PRI * HTTP/2.0",
    b"POST %s\xff HTTP/1.1", b"POST %s/../x HTTP/1.1", b"POST %s;x HTTP/1.1",
)  # fmt: skip
_BYTES = (b"\r\n", b"\n", b"\r", b"\0", b" ", b":", b"0\r\n\r\n", b"\xff", b"\t", b"\r\n\r\n", b"ffffffffffffffff\r\n")
_WAITS = 15
"""How often two milliseconds pass without a byte, before the client takes it that the proxy waits for more."""


@dataclass(frozen=True)
class Spoken:
    """What a client says on one connection.

    Args:
        parts: Its bytes, as they are sent.
    """

    parts: tuple[bytes, ...]


def _request(tape: Tape) -> bytes:
    path = tape.one(sorted(HELLO))
    body = json.dumps(HELLO[path]).encode()
    usual = tape.number(2)
    first = (tape.one(_FIRST) if not usual else _FIRST[0]).replace(b"%s", path.encode())
    lines = [b"Host: proxy", b"Content-Type: application/json"]
    if tape.rarely(3):
        half = tape.number(len(body))
        extension = tape.one((b"", b"", b";a=b", b" ", b";" + b"x" * 300))
        chunks = [each for each in (body[:half], body[half:]) if each]
        trailer = tape.one((b"", b"", b"Unhitch-Mitigation: off\r\n", b"Content-Length: 3\r\n", b"X\r\n"))
        body = (
            b"".join(b"%x%s\r\n%s\r\n" % (len(each), extension, each) for each in chunks) + b"0\r\n" + trailer + b"\r\n"
        )
        lines.append(b"Transfer-Encoding: chunked")
    else:
        lines.append(b"Content-Length: %d" % len(body))
    for _ in range(tape.number(3)):
        lines.insert(tape.number(len(lines)), tape.one(_LINES))
    end = tape.one((b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"))
    return end.join([first, *lines, b"", b""]) + body


def make(tape: Tape) -> Spoken:
    """One request or two, at times damaged or cut short."""
    said = b"".join(_request(tape) for _ in range(1 + tape.rarely(4)))
    if tape.rarely(4):
        at = tape.number(len(said))
        said = said[:at] + tape.one(_BYTES) + said[at + tape.number(2) :]
    if tape.rarely(8):
        said = said[: tape.number(len(said))]
    if tape.rarely(20):
        said = tape.bytes(40)
    cut = tape.number(len(said)) if tape.rarely(4) else 0
    return Spoken((said[:cut], said[cut:]) if cut else (said,))


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """A proxy that listens, with a locked policy."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    async with serving() as engine:
        with tempfile.TemporaryDirectory() as folder:
            config, port = settings_for(engine, Path(folder)), free_port()
            proxy = server(config, host="127.0.0.1", port=port, log_level="critical")
            assert proxy.draining is not None
            async with listening(proxy):
                for path in HELLO:
                    await _sound(port, path)
                engine.everything = True

                async def check(spoken: Spoken) -> str:
                    engine.requests.clear()
                    engine.faults.clear()
                    said = await _say(port, spoken, proxy.draining)  # type: ignore[arg-type]
                    assert not engine.faults, engine.faults
                    assert not (bad := unedited(engine.requests, marked=True)), f"reached the engine unedited: {bad}"
                    assert SECRET.encode() not in said
                    statuses = _statuses(said)
                    assert "500" not in statuses, said
                    assert b"Traceback" not in said
                    engine.requests.clear()
                    await _sound(port)
                    return " ".join(statuses) or "nothing"

                yield check


async def _say(port: int, spoken: Spoken, draining: Draining) -> bytes:
    """What comes back on a connection, until it is closed, or only the client could go on."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    heard, quiet = b"", 0
    try:
        for part in spoken.parts:
            writer.write(part)
            await asyncio.sleep(0.001 if len(spoken.parts) > 1 else 0)
        while quiet < (_WAITS if draining.under_way else 3):
            try:
                async with asyncio.timeout(0.002):
                    data = await reader.read(65536)
            except TimeoutError:
                quiet += 1
                continue
            if not data:
                break
            heard, quiet = heard + data, 0
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return heard


def _statuses(said: bytes) -> list[str]:
    return [line.split(b" ")[1].decode() for line in said.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


async def _sound(port: int, path: str = "/v1/chat/completions") -> None:
    """Sees that a sound request is answered as if nothing had been."""
    body = json.dumps(HELLO[path]).encode()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = b"POST %s HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    writer.write(head % (path.encode(), len(body)) + body)
    answer = await reader.read()
    writer.transport.abort()
    assert answer.startswith(b"HTTP/1.1 200 "), answer
