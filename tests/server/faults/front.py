"""A proxy for fault tests: in front of several engines, with short timeouts, on a loopback port."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI

from unhitch_server.config import Config
from unhitch_server.listener import Server
from unhitch_server.network import free_port
from unhitch_server.policy.document import FREEDOMS
from unhitch_server.serving import listening, server
from unhitch_server.upstream.counters import Counters
from unhitch_server.upstream.fleet import Fleet
from unhitch_server.upstream.timeouts import Timeouts

SHORT = Timeouts(connect_seconds=2.0, first_byte_seconds=0.6, silence_seconds=0.6)


@dataclass
class Running:
    """A proxy that runs, and what a test looks at."""

    client: httpx.AsyncClient
    server: Server
    fleet: Fleet
    counters: Counters
    port: int


def document(urls: tuple[str, ...], timeouts: Timeouts, **engines: object) -> str:
    """A policy file by which clients may ask for anything."""
    main = {
        "urls": urls,
        "balance": "session",
        "connect_seconds": timeouts.connect_seconds,
        "first_token_seconds": timeouts.first_byte_seconds,
        "silence_seconds": timeouts.silence_seconds,
        "retries": 2,
        **engines,
    }
    free = {"mitigation": "off", "clients_may": FREEDOMS}
    return json.dumps({"upstreams": {"main": main}, "policies": {"free": free}, "default": "free"})


@asynccontextmanager
async def proxied(
    *urls: str,
    timeouts: Timeouts = SHORT,
    failures: int = 1000,
    open_seconds: float = 10.0,
    health_seconds: float = 1000.0,
    write_seconds: float = 120.0,
    drain_seconds: float = 5.0,
) -> AsyncIterator[Running]:
    circuit = {"failures": failures, "open_seconds": open_seconds}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.yaml"
        file.write_text(document(urls, timeouts, circuit=circuit, health_seconds=health_seconds))
        config, port = Config(policy_file=file), free_port()
        proxy = server(
            config,
            host="127.0.0.1",
            port=port,
            log_level="critical",
            write_seconds=write_seconds,
            drain_seconds=drain_seconds,
        )
        assert proxy.draining is not None
        app = proxy.draining.app
        assert isinstance(app, FastAPI)
        limits = httpx.Limits(max_connections=None)
        async with (
            listening(proxy),
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False, limits=limits
            ) as client,
        ):
            # Probes under way would be counted with what tests do; the first ones load the libraries for it.
            await client.get("/readyz", timeout=120)
            yield Running(client, proxy, app.state.fleets["main"], app.state.counters, port)
