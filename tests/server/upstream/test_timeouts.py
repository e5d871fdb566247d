from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from tests.server.faults.bad_engine import CHAT, BadEngine, Handler, Wire, serving
from tests.server.faults.cases import fall_silent, hang, hang_after_head
from tests.server.faults.observing import free
from unhitch.errors import EngineTimeout
from unhitch_server.config import Config
from unhitch_server.upstream.connection import Upstream
from unhitch_server.upstream.faults import ConnectTimeout
from unhitch_server.upstream.timeouts import Timeouts

BODY = b'{"stream": true}'


@asynccontextmanager
async def behaving(handler: Handler, timeouts: Timeouts) -> AsyncIterator[tuple[BadEngine, Upstream]]:
    engine = BadEngine(handler)
    async with serving(engine), Upstream(Config(upstream=engine.url), timeouts) as upstream:
        yield engine, upstream


async def asked(upstream: Upstream, pause: float = 0.0) -> bytes:
    body = b""
    async with upstream.request("POST", CHAT, [], BODY) as answer:
        async for chunk in answer.chunks():
            body += chunk
            await asyncio.sleep(pause)
    return body


@pytest.mark.parametrize("name", ["connect_seconds", "first_byte_seconds", "silence_seconds"])
@pytest.mark.parametrize("value", [0, -1.0, float("nan")])
def test_a_timeout_is_a_positive_number(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=name):
        Timeouts(**{name: value})


@pytest.mark.parametrize("handler", [hang, hang_after_head], ids=["no head", "head only"])
async def test_an_answer_without_a_first_byte_is_given_up_and_the_engine_stopped(handler: Handler) -> None:
    async with behaving(handler, Timeouts(first_byte_seconds=0.3, silence_seconds=60)) as (engine, upstream):
        since = time.monotonic()
        with pytest.raises(EngineTimeout, match=r"nothing of the engine's answer came in 0\.3 s"):
            await asked(upstream)
        assert 0.25 < time.monotonic() - since < 1
        assert await free(engine) < 1


async def test_silence_within_an_answer_is_given_up_and_the_engine_stopped() -> None:
    async with behaving(fall_silent, Timeouts(first_byte_seconds=60, silence_seconds=0.3)) as (engine, upstream):
        with pytest.raises(EngineTimeout, match=r"fell silent within its answer for 0\.3 s"):
            await asked(upstream)
        assert await free(engine) < 1


async def steady(wire: Wire) -> None:
    await wire.begin_stream()
    for _ in range(10):
        await wire.chunk(b"data: {}\n\n")
        await asyncio.sleep(0.1)
    await wire.raw(b"0\r\n\r\n")


async def test_a_long_answer_that_keeps_coming_is_not_given_up() -> None:
    async with behaving(steady, Timeouts(first_byte_seconds=0.4, silence_seconds=0.4)) as (_, upstream):
        assert await asked(upstream) == b"data: {}\n\n" * 10


async def test_the_time_that_the_client_takes_is_not_the_engines() -> None:
    async with behaving(steady, Timeouts(first_byte_seconds=0.4, silence_seconds=0.4)) as (_, upstream):
        assert await asked(upstream, pause=0.6) == b"data: {}\n\n" * 10


async def test_a_connection_that_does_not_come_about_is_given_up() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):  # fills its queue; whoever comes next waits
            timeouts = Timeouts(connect_seconds=0.3)
            async with Upstream(Config(upstream=f"http://127.0.0.1:{port}"), timeouts) as upstream:
                with pytest.raises(ConnectTimeout, match="no connection to the engine came about in time"):
                    await asked(upstream)


async def test_a_patient_question_waits_beyond_the_first_bytes_time() -> None:
    async def late(wire: Wire) -> None:
        await asyncio.sleep(0.5)
        await wire.whole(200, b"{}")

    async with behaving(late, Timeouts(first_byte_seconds=0.2, silence_seconds=0.2)) as (_, upstream):
        assert await upstream.ask("POST", CHAT, {}, patient=True) == (200, {})
