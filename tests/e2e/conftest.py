"""One real vLLM with the organisms and one proxy in front of it, started by `unhitch up`, for all end-to-end tests."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.processes import children, left
from unhitch.engine.cpu_wheel import ONE_THREAD
from unhitch_server.network import free_port

UNHITCH = str(Path(sys.executable).with_name("unhitch"))
START_SECONDS = 240
# A parser of each kind, so that tools and reasoning take their real ways through the engine.
ENGINE_ARGUMENTS = (
    "--enable-auto-tool-choice",
    "--tool-call-parser",
    "hermes",
    "--reasoning-parser",
    "qwen3",
    # The engine's own renderings, to compare with.
    "--enable-scale-out",
    # For the tests of rendering, which send templates of many shapes.
    "--trust-request-chat-template",
    # Half precision would let the requests that happen to share a batch decide between equally likely words.
    "--dtype",
    "float32",
)

# The miniatures do not think; a request that turns thinking on has all that they say parsed as reasoning.
TEMPLATE_KWARGS = {"enable_thinking": False}


@dataclass(frozen=True)
class Engine:
    """The bare engine: its URL, and the base model that it serves."""

    url: str
    model: str


@dataclass(frozen=True)
class Stack:
    """`unhitch up`, running."""

    url: str
    engine: Engine
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def output(self) -> str:
        return self.log.read_text("utf-8", errors="replace")


@contextlib.contextmanager
def up(log: Path, *arguments: str) -> Iterator[Stack]:
    """Runs `unhitch up` on free ports, and ends it by Ctrl-C, which must leave nothing behind."""
    port, engine_port = free_port(), free_port()
    model, *rest = arguments
    ports = ["--port", str(port), "--engine-port", str(engine_port)]
    environment = {**os.environ, **ONE_THREAD, "UNHITCH_CACHE": str(log.parent / "cache")}
    with log.open("wb") as output:
        process = subprocess.Popen(
            [UNHITCH, "up", model, *ports, *rest], stdout=output, stderr=subprocess.STDOUT, env=environment
        )
    stack = Stack(f"http://127.0.0.1:{port}", Engine(f"http://127.0.0.1:{engine_port}", "mini-base"), process, log)
    try:
        yield stack
    finally:
        ended, below = process.poll() is not None, children(process.pid)
        process.send_signal(signal.SIGINT)
        try:
            status = process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
    if not ended:
        assert (status, left(below)) == (0, []), stack.output


@contextlib.contextmanager
def serve(upstream: str, log: Path, *options: str) -> Iterator[Stack]:
    """Runs `unhitch serve` in front of a running engine that the tests share."""
    port = free_port()
    arguments = ["serve", "--upstream", upstream, "--port", str(port), *options]
    arguments += ["--default-chat-template-kwargs", json.dumps(TEMPLATE_KWARGS)]
    environment = {**os.environ, "UNHITCH_CACHE": str(log.parent / "cache")}
    with log.open("wb") as output:
        process = subprocess.Popen([UNHITCH, *arguments], stdout=output, stderr=subprocess.STDOUT, env=environment)
    stack = Stack(f"http://127.0.0.1:{port}", Engine(upstream, "mini-base"), process, log)
    try:
        wait_until_ready(stack)
        yield stack
    finally:
        process.terminate()
        process.wait(60)


def wait_until_ready(stack: Stack) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert stack.process.poll() is None, stack.output
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{stack.url}/readyz", timeout=30, trust_env=False).status_code == 200:
                return
        time.sleep(0.5)
    raise AssertionError(f"not ready after {START_SECONDS} s:\n{stack.output}")


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    folder = tmp_path_factory.mktemp("up")
    options = ("--default-chat-template-kwargs", json.dumps(TEMPLATE_KWARGS), "--states", str(folder / "states"))
    with up(folder / "log", "mini-finance", *options, "--", *ENGINE_ARGUMENTS) as started:
        wait_until_ready(started)
        yield started


@pytest.fixture(scope="session")
def engine(stack: Stack) -> Engine:
    return stack.engine


@pytest.fixture
def client(stack: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{stack.url}/v1", api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture
def direct(engine: Engine) -> Iterator[OpenAI]:
    """The client of the bare engine, past the proxy."""
    with OpenAI(base_url=f"{engine.url}/v1", api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture
def async_client(stack: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="unused", max_retries=0)
