"""The end of the proxy's service."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.server.faults.bad_engine import CHAT, BadEngine, Wire, serving
from tests.server.faults.cases import HELLO, OFF, PERTURB, fall_silent, hang
from tests.server.faults.front import proxied
from tests.server.faults.observing import free
from unhitch_server.draining import Draining
from unhitch_server.listener import Server
from unhitch_server.network import free_port
from unhitch_server.serving import serve_alone
from unhitch_server.upstream.timeouts import Timeouts

PATIENT = Timeouts(first_byte_seconds=30, silence_seconds=30)


async def test_a_request_under_way_ends_in_its_time() -> None:
    async def slow(wire: Wire) -> None:
        await asyncio.sleep(1)
        await wire.sound()

    engine = BadEngine(slow)
    async with serving(engine), proxied(engine.url, timeouts=PATIENT) as running:
        asked = asyncio.create_task(running.client.post(CHAT, json=HELLO, headers=PERTURB))
        while not engine.running:
            await asyncio.sleep(0.02)
        running.server.should_exit = True
        assert (await asked).status_code == 200
        assert (await asked).headers["connection"] == "close"
        with pytest.raises(httpx.ConnectError):
            await running.client.get("/healthz")


@pytest.mark.parametrize(("handler", "stream"), [(hang, False), (fall_silent, True)], ids=["plain", "stream"])
async def test_a_request_that_does_not_end_in_its_time_is_told_so(handler: object, *, stream: bool) -> None:
    engine = BadEngine()
    async with serving(engine), proxied(engine.url, timeouts=PATIENT, drain_seconds=0.5) as running:
        engine.handler = handler  # type: ignore[assignment]
        request = running.client.post(CHAT, json={**HELLO, "stream": stream}, headers=OFF)
        asked = asyncio.create_task(request)
        while not engine.running:
            await asyncio.sleep(0.02)
        running.server.should_exit = True
        answer = await asked
        last = answer.text.strip().rpartition("data: ")[2]
        assert json.loads(last)["error"]["code"] == "proxy_stopping"
        assert answer.status_code == (200 if stream else 503)
        assert await free(engine) < 1


async def test_after_sigterm_it_is_not_ready_and_lingers_before_it_closes() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    draining, port = Draining(app), free_port()
    server = Server(uvicorn.Config(draining, port=port, log_level="critical", lifespan="off"), draining)
    serving_it = asyncio.create_task(serve_alone(server, linger_seconds=1.0))
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        while not server.started:
            await asyncio.sleep(0.02)
        assert (await client.get("/readyz")).status_code == 200
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.sleep(0.2)
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "draining")
        assert (await client.get("/v1/models")).status_code == 200
        await asyncio.wait_for(serving_it, 5)
        with pytest.raises(httpx.ConnectError):
            await client.get("/v1/models")
