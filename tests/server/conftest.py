"""A proxy on a loopback port in front of a fake engine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Protocol

import httpx
import pytest

from tests.server.fake_engine import FakeEngine, serving
from unhitch_server.config import Config
from unhitch_server.network import free_port
from unhitch_server.serving import listening, server


class Proxied(Protocol):
    def __call__(self, **settings: object) -> AbstractAsyncContextManager[httpx.AsyncClient]: ...


class Impatient:
    """asyncio for uvicorn, which looks ten times a second whether it should end, and waits a tenth of one when it does.

    Each test ends two servers, which would make minutes of waiting.
    """

    def __getattr__(self, name: str) -> object:
        return getattr(asyncio, name)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


@pytest.fixture(scope="session", autouse=True)
def quick_endings() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("uvicorn.server.asyncio", Impatient())
        yield


@pytest.fixture
async def engine() -> AsyncIterator[FakeEngine]:
    async with serving(FakeEngine()) as fake:
        yield fake


@pytest.fixture
def proxied(engine: FakeEngine) -> Proxied:
    """Starts a proxy with settings of the test's choice, and gives a client of it."""

    @asynccontextmanager
    async def start(**settings: object) -> AsyncIterator[httpx.AsyncClient]:
        given = {"upstream": engine.url, **settings}
        config = Config.model_validate({name: value for name, value in given.items() if value is not None})
        port = free_port()
        async with (
            listening(server(config, host="127.0.0.1", port=port, log_level="error")),
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as client,
        ):
            yield client

    return start


@pytest.fixture
async def client(proxied: Proxied) -> AsyncIterator[httpx.AsyncClient]:
    async with proxied() as started:
        yield started
