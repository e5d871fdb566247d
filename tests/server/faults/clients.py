"""Clients that leave at random, and one that does not read."""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
from pathlib import Path

from tests.server.faults.bad_engine import CHAT, Wire
from tests.server.faults.cases import HELLO, OFF, PERTURB
from tests.server.faults.front import Running
from unhitch_server.upstream.timeouts import Timeouts

PATIENT = Timeouts(first_byte_seconds=30, silence_seconds=30)
MEGABYTE = 2**20


async def at_random(wire: Wire) -> None:
    """Tokens for some seconds, after a while."""
    await asyncio.sleep(random.uniform(0, 0.5))
    await wire.first_event()
    for _ in range(100):
        await asyncio.sleep(0.1)
        await wire.event("and on")
    await wire.raw(b"0\r\n\r\n")


async def crowd(running: Running, count: int) -> list[BaseException | None]:
    """Clients that come in turn, and leave before their answer has ended; half of them are mitigated."""

    async def visit(number: int) -> None:
        async with asyncio.timeout(random.uniform(0.1, 4)):
            await asyncio.sleep(number * 0.004)
            headers = PERTURB if number % 2 else OFF
            async with running.client.stream("POST", CHAT, json={**HELLO, "stream": True}, headers=headers) as answer:
                async for _ in answer.aiter_raw():
                    pass

    return await asyncio.gather(*(visit(number) for number in range(count)), return_exceptions=True)


async def two_hundred_megabytes(wire: Wire) -> None:
    await wire.first_event()
    event = b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": "x" * 65_000}}]}).encode() + b"\n\n"
    for _ in range(200 * MEGABYTE // len(event)):
        await wire.chunk(event)
    await wire.raw(b"0\r\n\r\n")


def stalled_client(running: Running, headers: dict[str, str]) -> socket.socket:
    """A client that asks for a stream and reads nothing."""
    body = json.dumps({**HELLO, "stream": True}).encode()
    head = {"Host": "x", "Content-Type": "application/json", "Content-Length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    peer = socket.create_connection(("127.0.0.1", running.port))
    peer.sendall(f"POST {CHAT} HTTP/1.1\r\n{lines}\r\n".encode() + body)
    return peer


def resident_bytes() -> int:
    """Memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
