"""A proxy whose scorer is the exact judge, in front of a fake engine."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.server.conftest import Proxied


@pytest.fixture
async def client(proxied: Proxied) -> AsyncIterator[httpx.AsyncClient]:
    async with proxied(scorer="exact") as started:
        await started.get("/readyz", timeout=120)
        yield started
