"""Runs the proxy, alone or together with an engine; what one of them needs is stopped when the other ends."""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvicorn

from unhitch.engine.command import Command
from unhitch.engine.process import EngineProcess
from unhitch.errors import EngineStartError, UnhitchError
from unhitch_server.access.protocol import BoundedProtocol
from unhitch_server.access.redaction import redact_logs
from unhitch_server.app import create_app
from unhitch_server.config import DRAIN_SECONDS, WRITE_SECONDS, Config
from unhitch_server.draining import Draining
from unhitch_server.listener import Server

__all__ = ["Server", "first_of", "listening", "run", "serve_alone", "serve_with_engine", "server", "stop_signal"]

ENGINE_START_SECONDS = 900.0
"""Longest wait for an engine: large checkpoints take minutes to load."""

KEEP_ALIVE_SECONDS = 75
"""How long a client's idle connection is kept: longer than clients keep theirs, so that none is closed on a request."""


def server(
    config: Config,
    *,
    host: str,
    port: int,
    log_level: str = "info",
    drain_seconds: float = DRAIN_SECONDS,
    write_seconds: float = WRITE_SECONDS,
) -> Server:
    """A server for the proxy.

    Args:
        config: The proxy's settings.
        host: Address to listen on.
        port: Port to listen on.
        log_level: uvicorn's and ours: debug, info, warning or error.
        drain_seconds: How long requests under way may take to end once the proxy was asked to stop.
        write_seconds: How long a client may read nothing while an answer waits for it.

    Raises:
        UnhitchError: The settings name a plug-in, mitigation or policy that is not valid.
    """
    logging.basicConfig(format="%(levelname)s:     %(message)s")
    logging.getLogger("unhitch_server").setLevel(log_level.upper())
    draining = Draining(create_app(config))
    settings = uvicorn.Config(
        draining,
        host=host,
        port=port,
        http=BoundedProtocol,
        log_level=log_level,
        access_log=False,
        server_header=False,  # the engine's own Server and Date go through
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )
    redact_logs([config.upstream_api_key, config.control_key, config.scorer_api_key])
    return Server(settings, draining, drain_seconds=drain_seconds, write_seconds=write_seconds)


def run(work: Coroutine[Any, Any, None], proxy: Server) -> None:
    """Runs the work on the event loop that uvicorn prefers here."""
    with asyncio.Runner(loop_factory=proxy.config.get_loop_factory()) as runner:
        runner.run(work)


async def serve_alone(proxy: Server, *, linger_seconds: float = 0.0) -> None:
    """Serves until SIGINT or SIGTERM, then lets the requests under way end.

    Args:
        proxy: The server.
        linger_seconds: As in `stop_signal`.

    Raises:
        UnhitchError: The server could not start.
    """
    async with stop_signal(proxy, linger_seconds=linger_seconds) as stopped, listening(proxy) as ended:
        await first_of(stopped.wait(), ended.wait())


async def serve_with_engine(
    proxy: Server,
    command: Command,
    url: str,
    *,
    waiting: Callable[[float], None],
    ready: Callable[[], Coroutine[Any, Any, None]],
    keep_serving: bool = True,
) -> None:
    """Starts an engine, then the proxy; serves until SIGINT, SIGTERM or the end of either, and stops both.

    Args:
        proxy: Whose upstream is `url`.
        command: Starts the engine.
        url: Where the engine will answer.
        waiting: Called with the seconds waited for the engine so far.
        ready: Run once both answer; what it raises ends everything.
        keep_serving: Whether to go on once `ready` has run.

    Raises:
        EngineStartError: The engine could not be started, or ended by itself; the message has its own words.
        UnhitchError: The proxy could not start.
    """
    address = _bound(proxy.config)  # a taken port is better found before the engine loads than after
    async with stop_signal(proxy) as stopped, EngineProcess(command, url) as engine:
        await first_of(engine.healthy(timeout_seconds=ENGINE_START_SECONDS, waiting=waiting), stopped.wait())
        if stopped.is_set():
            return
        async with listening(proxy, address) as ended:
            await first_of(ready(), stopped.wait(), engine.ended())
            if keep_serving or not engine.alive:
                await first_of(stopped.wait(), engine.ended(), ended.wait())
        if not stopped.is_set() and not engine.alive:
            raise EngineStartError(engine.obituary())


@asynccontextmanager
async def listening(proxy: Server, address: socket.socket | None = None) -> AsyncIterator[asyncio.Event]:
    """The server, listening, for as long as the block lasts; gives an event that is set should it end by itself.

    Args:
        proxy: The server.
        address: A bound socket; without it, one is bound to the server's host and port.

    Raises:
        UnhitchError: It could not start; most often another program has the port.
    """
    task = asyncio.create_task(proxy.serve(sockets=[address or _bound(proxy.config)]))
    ended = asyncio.Event()
    task.add_done_callback(lambda _: ended.set())
    while not proxy.started and not task.done():  # noqa: ASYNC110 - uvicorn offers no event for it
        await asyncio.sleep(0.02)
    if task.done():
        raise UnhitchError(f"the proxy ended while it started: {task.exception()!r}")
    try:
        yield ended
    finally:
        proxy.should_exit = True
        await task


def _bound(config: uvicorn.Config) -> socket.socket:
    """A socket that has the address and does not listen yet."""
    host, port = config.host, config.port
    address = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    address.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        address.bind((host, port))
    except OSError as error:
        address.close()
        raise UnhitchError(
            f"the proxy cannot listen on {host}:{port} ({error.strerror}); is the port taken? Name another with --port."
        ) from error
    return address


@asynccontextmanager
async def stop_signal(proxy: Server, *, linger_seconds: float = 0.0) -> AsyncIterator[asyncio.Event]:
    """An event that is set by SIGINT or SIGTERM while the block lasts; a second one breaks off what still runs.

    Args:
        proxy: The server.
        linger_seconds: How long after SIGTERM it goes on accepting, while /readyz is 503 already: whoever sends
            requests to several proxies needs a moment to see that this one goes.
    """
    loop, stopped, asked = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()

    def stop(lingering: float) -> None:
        proxy.force_exit = asked.is_set()
        asked.set()
        if proxy.draining is not None:
            proxy.draining.begin()
        if lingering and proxy.started and not proxy.force_exit:
            loop.call_later(lingering, stopped.set)
        else:
            stopped.set()

    loop.add_signal_handler(signal.SIGINT, stop, 0.0)
    loop.add_signal_handler(signal.SIGTERM, stop, linger_seconds)
    try:
        yield stopped
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)


async def first_of(*works: Coroutine[Any, Any, Any]) -> None:
    """Waits for the first of several to end, cancels the others, and raises what the first raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
