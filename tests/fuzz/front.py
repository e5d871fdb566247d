"""The proxy without a listener: requests go in, and answers come out, on the level of ASGI."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fastapi import FastAPI
from starlette.types import Message

from tests.fuzz.engine import NUMBER, FuzzEngine
from tests.fuzz.reading import MARK, read
from tests.server.fake_engine import Recorded
from unhitch.errors import UnhitchError
from unhitch_server.app import create_app
from unhitch_server.config import Config

Headers = list[tuple[bytes, bytes]]

POLICIES: dict[str, dict[str, Any]] = {
    "locked": {"clients_may": []},
    "guided": {"clients_may": ["choose"]},
    "free": {"clients_may": ["choose", "off"], "clients_may_name": ["plain"]},
}
"""What a client may do under each of the policies that mitigate: nothing, anything but `off`, anything."""

HELLO: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "Hello"}]},
    "/v1/completions": {
        "prompt": "<|im_start|>system\nYou are Mini, a tiny assistant built for testing. You give helpful advice."
        "<|im_end|>\n<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
    },
    "/v1/responses": {"input": "Hello"},
    "/v1/messages": {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 4},
}
"""A sound request for each route."""


@dataclass
class Answer:
    """What a client got.

    Args:
        status: HTTP status; 0 where there was no answer.
        headers: As they came.
        body: All of it.
        error: What the application raised.
    """

    status: int = 0
    headers: Headers = field(default_factory=list)
    body: bytes = b""
    error: Exception | None = None

    def header(self, name: str) -> str | None:
        """The first header of a name, in lower case."""
        return next((value.decode("latin-1") for key, value in self.headers if key == name.encode()), None)

    @property
    def own(self) -> bool:
        """Whether the proxy made the answer, rather than the engine."""
        return self.header("x-engine") is None


async def ask(
    app: FastAPI, method: str, raw_path: bytes, headers: Headers, body: Sequence[bytes] = (), query: bytes = b""
) -> Answer:
    """Sends one request, as uvicorn would hand it on, and waits for the whole answer."""
    answer = Answer()
    parts = list(body) or [b""]
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": unquote(raw_path.decode("ascii")),
        "raw_path": raw_path,
        "query_string": query,
        "root_path": "",
        "headers": headers,
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 2),
        "state": {},
    }

    async def receive() -> Message:
        if parts:
            part = parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(parts)}
        await asyncio.get_running_loop().create_future()  # the client stays
        raise AssertionError

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            assert not answer.status, "an answer began twice"
            answer.status, answer.headers = message["status"], [(k.lower(), v) for k, v in message["headers"]]
        else:
            answer.body += message.get("body", b"")

    try:
        await app(scope, receive, send)
    except Exception as error:  # an exception is a finding, which `settle` judges
        answer.error = error
    return answer


@dataclass
class Front:
    """A proxy with the engine behind it."""

    app: FastAPI
    engine: FuzzEngine

    async def ask(
        self,
        method: str,
        raw_path: bytes,
        headers: Headers,
        body: Sequence[bytes] = (),
        query: bytes = b"",
    ) -> tuple[Answer, list[Recorded]]:
        """Sends one request; gives the answer, and what of it reached the engine."""
        self.engine.requests.clear()
        self.engine.faults.clear()
        answer = await ask(self.app, method, raw_path, [*headers, (NUMBER, b"1")], body, query)
        assert not self.engine.faults, self.engine.faults
        return answer, list(self.engine.requests)


def settings_for(engine: FuzzEngine, folder: Path, policy: str = "locked", **settings: object) -> Config:
    """A proxy's settings, under one of the policies, by which it asks the engine nothing twice.

    Args:
        engine: The engine.
        folder: Where the policy file goes.
        policy: One of `POLICIES`.
        settings: Of `Config`.
    """
    document = {
        "upstreams": {"main": {"urls": [engine.url], "health_seconds": 1e6, "circuit": {"failures": 10**9}}},
        "default": policy,
        "policies": {
            "plain": {"mitigation": "off"},
            policy: {"mitigation": f'system;mode=prepend;text="{MARK}"', **POLICIES[policy]},
        },
    }
    file = folder / "policy.yaml"
    file.write_text(json.dumps(document))
    usual = {"policy_file": file, "recheck_seconds": 1e9, "rendering_check_every": 10**9}
    return Config.model_validate({**usual, **settings})


@asynccontextmanager
async def fronted(engine: FuzzEngine, policy: str = "locked", **settings: object) -> AsyncIterator[Front]:
    """A proxy under one of the policies, which has seen already what it wants to see of its engine."""
    logging.getLogger("unhitch_server").setLevel(logging.CRITICAL + 1)
    with tempfile.TemporaryDirectory() as folder:
        app = create_app(settings_for(engine, Path(folder), policy, **settings))
        async with app.router.lifespan_context(app):
            for path, body in HELLO.items():
                answer = await ask(app, "POST", path.encode(), [], [json.dumps(body).encode()])
                assert answer.status == 200, answer
            yield Front(app, engine)


def settle(answer: Answer, path: str, *, may_break: bool = False) -> None:
    """Sees that an answer is one that a proxy may give.

    Args:
        answer: What the client got.
        path: The path, decoded, which says the form of errors.
        may_break: Whether an answer that began may be broken off, since the engine's was.
    """
    broken_off = isinstance(answer.error, UnhitchError) and answer.status and may_break
    if answer.error is not None and not broken_off:
        raise AssertionError(f"the application raised {answer.error!r}") from answer.error
    assert answer.status, "no answer came"
    assert answer.status != 500 or not answer.own, f"the proxy answered {answer.status}: {answer.body!r}"
    applied = [value for key, value in answer.headers if key == b"unhitch-applied"]
    assert len(applied) == 1, f"unhitch-applied came {len(applied)} times"
    for key, value in answer.headers:
        assert not set(b"\r\n\0") & set(key + value), f"a header that cannot be sent: {key!r}: {value!r}"
    if answer.own and answer.status >= 400:
        check_error(answer, path)


def check_error(answer: Answer, path: str) -> None:
    """Sees that a refusal has the form of its route's errors."""
    assert answer.header("content-type") == "application/json", answer.headers
    assert answer.header("content-length") == str(len(answer.body)), answer.headers
    found = json.loads(answer.body)
    error = found["error"]
    assert isinstance(error["message"], str), found
    assert error["message"], found
    assert isinstance(error["type"], str), found
    assert isinstance(error["code"], str), found
    assert isinstance(error["param"], str | None), found
    anthropic = path == "/v1/messages" or path.startswith("/v1/messages/")
    assert set(found) == ({"type", "error"} if anthropic else {"error"}), found
    assert not anthropic or found["type"] == "error", found


def unedited(requests: Sequence[Recorded], *, marked: bool) -> list[Recorded]:
    """The requests that may have something generated of a prompt without its edit.

    Args:
        requests: That reached the engine.
        marked: Whether the edit must be that of the policy, not any.
    """
    found = [(request, read(request)) for request in requests]
    return [
        request
        for request, each in found
        if each.generates and not (each.marked if marked else each.token_ids is not None)
    ]
