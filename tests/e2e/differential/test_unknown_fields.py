"""Fields that nobody knows survive both ways on every route, as they were written: under a mitigation, too."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import httpx
import pytest
import pytest_asyncio

from tests.e2e.conftest import TEMPLATE_KWARGS, Stack
from tests.e2e.differential.answers import is_stream, shapes
from tests.e2e.differential.bodies import chat, completions, messages, responses
from tests.e2e.differential.bodies.chat import ASK
from tests.e2e.differential.relay import ADDED, Relay, relaying
from unhitch_server.config import Config
from unhitch_server.network import free_port
from unhitch_server.serving import listening, server

BODIES = {
    chat.ROUTE.path: {"model": "mini-finance", "messages": [ASK], "temperature": 0, "max_tokens": 4},
    completions.ROUTE.path: completions.BASE,
    responses.ROUTE.path: responses.BASE,
    messages.ROUTE.path: messages.BASE,
}
UNKNOWN = '"no_such_field": {"x": [1, 1e2, 12345678901234567890123, "\\u00e9", {}], "x": null}'
WAYS = ["off", "perturb;seed=1", "bare"]

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Between:
    """A relay before the engine, and a client of the proxy before the relay."""

    relay: Relay
    client: httpx.AsyncClient


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def between(stack: Stack) -> AsyncIterator[Between]:
    logger = logging.getLogger("unhitch_server")
    async with AsyncExitStack() as opened:
        opened.callback(logger.setLevel, logger.level)  # the server sets its own
        relay = await opened.enter_async_context(relaying(stack.engine.url))
        settings = {"upstream": relay.url, "chat_template_kwargs": TEMPLATE_KWARGS}
        port = free_port()
        proxy = server(Config.model_validate(settings), host="127.0.0.1", port=port, log_level="error")
        await opened.enter_async_context(listening(proxy))
        url = f"http://127.0.0.1:{port}"
        yield Between(
            relay, await opened.enter_async_context(httpx.AsyncClient(base_url=url, timeout=60, trust_env=False))
        )


@pytest.mark.parametrize("path", BODIES)
async def test_they_survive(between: Between, path: str) -> None:
    for stream in (False, True):
        body = json.dumps({**BODIES[path], "stream": stream})[:-1] + f",{UNKNOWN}}}"
        headers = {"Content-Type": "application/json"}
        async with httpx.AsyncClient(base_url=between.relay.url, timeout=60, trust_env=False) as client:
            direct = await client.post(path, content=body, headers=headers)
        assert direct.status_code == httpx.codes.OK, direct.text
        assert ADDED in direct.content
        for way in WAYS:
            between.relay.came.clear()
            answer = await between.client.post(path, content=body, headers=headers | {"Unhitch-Mitigation": way})
            assert answer.headers["unhitch-applied"].startswith(way.partition(";")[0]), answer.text
            assert is_stream(answer) is stream
            assert [came for came, sent in between.relay.came if UNKNOWN.encode() in sent] == [path]
            assert answer.content.count(ADDED) == answer.content.count(b"engine_field") > 0
            assert shapes(answer) == shapes(direct)
