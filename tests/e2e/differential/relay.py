"""A relay between proxy and engine: notes what the engine is sent, and answers with more fields than it has."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.e2e.differential.answers import is_stream
from unhitch_server.network import free_port
from unhitch_server.serving import Server, listening

ADDED = b'"engine_field":1e2'
"""What every object gets: a number that few would write down again as it came."""

# Nothing that the models here say looks like one.
_OPENING = re.compile(rb'(^(?:data: )?|":|":\[|\},)\{("|\})', re.MULTILINE)

_METHODS = ["GET", "POST"]
_OWN = frozenset({"content-length", "transfer-encoding", "connection", "date", "server", "host"})


@dataclass
class Relay:
    """Where it listens, and the bodies that came, with their paths."""

    url: str
    came: list[tuple[str, bytes]] = field(default_factory=list)


@asynccontextmanager
async def relaying(engine: str) -> AsyncIterator[Relay]:
    """Relays to an engine, in this process.

    Args:
        engine: Its URL.
    """
    port = free_port()
    relay = Relay(f"http://127.0.0.1:{port}")
    async with httpx.AsyncClient(base_url=engine, timeout=60, trust_env=False) as client:

        async def answer(request: Request) -> Response:
            body = await request.body()
            relay.came.append((request.url.path, body))
            given = await client.request(
                request.method, request.url.path, content=body, headers=_passed(dict(request.headers))
            )
            headers, extended = _passed(dict(given.headers)), _extended(given.content)
            if is_stream(given):
                return StreamingResponse(iter([extended]), given.status_code, headers)
            return Response(extended, given.status_code, headers)

        app = Starlette(routes=[Route("/{path:path}", answer, methods=_METHODS)])
        config = uvicorn.Config(app, host="127.0.0.1", port=port, log_level="error", lifespan="off", access_log=False)
        async with listening(Server(config)):
            yield relay


def _passed(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _OWN | {"accept-encoding"}}


def _extended(answer: bytes) -> bytes:
    """The answer with one more field in each object."""
    return _OPENING.sub(lambda found: found[1] + b"{" + ADDED + (b',"' if found[2] == b'"' else b"}"), answer)
