"""Paths and methods: every route of the engine, written in ways that routers and gateways read differently."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import unquote

import httptools

from tests.fuzz.engine import SECRET, serving
from tests.fuzz.front import HELLO, fronted, settle, unedited
from tests.fuzz.reading import GENERATING
from tests.fuzz.running import Check
from tests.fuzz.tape import Tape
from unhitch_server.routes.classes import PASSES

READ_ONLY = ("/health", "/v1/models", "/version", "/load", "/metrics", "/docs", "/openapi.json", "/ping")
ROUTES = (*GENERATING, *PASSES, *READ_ONLY, "/v1/responses/resp_1/cancel", "/v1/responses/resp_1", "/healthz", "/ui/")
METHODS = ("POST", "POST", "POST", "GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "QUERY", "SEARCH", "TRACE")

_PIECES = (
    "/", "//", "/./", "/../", "/x/../", "%2f", "%2F", "%252f", ";", ";a=b", "?", "#", "%3f", "%23", "%00", "%20",
    "%09", "%0a", "\\", "%5c", ".", "..", "%2e", "%2e%2e", "*", "@", ":", "+", "~", "%c0%af", "%e2%80%8b", "%", "%zz",
    "unhitch", "v1", "V1", "/v1", "http://a", "off", "cancel", "render",
)  # fmt: skip


@dataclass(frozen=True)
class Addressed:
    """A request's first line, less the version.

    Args:
        method: HTTP method.
        target: As it stands on the wire.
        body: Which route's request is sent along.
    """

    method: str
    target: bytes
    body: str


def _target(tape: Tape) -> str:
    if tape.rarely(12):
        return "/" + "".join(chr(33 + each % 94) for each in tape.bytes(tape.number(30)))
    route = tape.one(ROUTES)
    for _ in range(tape.number(2)):
        at, cut = tape.number(len(route)), tape.number(1)
        route = route[:at] + tape.one(_PIECES) + route[at + cut :]
    how = tape.number(9)
    if how == 9:
        at = tape.number(len(route) - 1)
        return f"{route[:at]}%{ord(route[at]):02x}{route[at + 1 :]}"
    return (route, route, route, route, route.upper(), route.title(), "/" + route, route + "/", route + "?a=b")[how]


def make(tape: Tape) -> Addressed:
    """A first line."""
    return Addressed(tape.one(METHODS), _target(tape).encode("latin-1", "replace"), tape.one(sorted(HELLO)))


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """A proxy whose policy is locked."""
    async with serving() as engine, fronted(engine) as front:

        async def check(addressed: Addressed) -> str:
            try:
                url = httptools.parse_url(addressed.target)  # as uvicorn does
            except httptools.HttpParserInvalidURLError:
                return "no target"
            if not url.path:
                return "no target"
            body = json.dumps(HELLO[addressed.body]).encode()
            kind = [(b"content-type", b"application/json")]
            answer, came = await front.ask(addressed.method, url.path, kind, [body], url.query or b"")
            settle(answer, unquote(url.path.decode("ascii")))
            assert not (bad := unedited(came, marked=True)), f"an unedited request reached the engine: {bad}"
            assert SECRET.encode() not in answer.body
            sent = url.path + (b"?" + url.query if url.query else b"")
            for request in came:
                assert request.target.encode("latin-1") == sent, f"{sent!r} became {request.target!r}"
                assert request.method == addressed.method
            return f"{answer.status}{'' if answer.own else ' of the engine'}"

        yield check
