"""Sends one request into a fault, and says what came of it."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass

import httpx

from tests.server.faults.bad_engine import CHAT, SECRET, BadEngine
from tests.server.faults.cases import CUT, ENGINES, ERROR, EVENT, HELLO, OFF, OWN, PERTURB, WITHHELD, Case
from tests.server.faults.front import Running


@dataclass(frozen=True)
class Observed:
    """What a client got, and when the engine was free.

    Args:
        status: HTTP status.
        gets: As in `Case`.
        body: All bytes that came.
        free_seconds: From the client's last byte to the end of the last generation; negative if that came first.
    """

    status: int
    gets: str
    body: bytes
    free_seconds: float


async def observe(running: Running, engine: BadEngine, case: Case, mitigation: str) -> Observed:
    headers = OFF if mitigation == "off" else PERTURB
    body, cut, status = b"", False, 0
    try:
        async with running.client.stream(
            "POST", CHAT, json={**HELLO, "stream": case.stream}, headers=headers
        ) as answer:
            status = answer.status_code
            async for part in answer.aiter_raw():
                body += part
    except httpx.RemoteProtocolError:
        cut = True
    seconds = await free(engine)
    return Observed(status, _gets(status, body, cut=cut, withheld=case.gets == WITHHELD), body, seconds)


async def free(engine: BadEngine, limit: float = 5.0) -> float:
    """Seconds until the engine generates nothing more."""
    since = time.monotonic()
    while engine.running and time.monotonic() - since < limit:
        await asyncio.sleep(0.005)
    return time.monotonic() - since


def _gets(status: int, body: bytes, *, cut: bool, withheld: bool) -> str:
    if cut:
        return CUT
    last = body.strip().rpartition(b"data: ")[2]
    try:
        error = json.loads(last)["error"] if body != OWN else None
    except (ValueError, KeyError, TypeError):
        error = None
    if error is None:
        return ENGINES
    if status == 200:
        return EVENT
    return WITHHELD if withheld and SECRET.encode() not in body else ERROR
