"""Proxies with a locked policy, each in front of an engine that writes down what reaches it, in a thread of their own.

Tests send bytes over sockets, since clients that speak HTTP properly would mend what is being tried. They share the
proxies, and look at what reached the engine while they ran.
"""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from starlette.types import Send

from tests.server.fake_engine import MODEL as MODEL
from tests.server.fake_engine import FakeEngine, Handler, Recorded, completion, reply_json, serving
from unhitch import organisms
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.config import Config
from unhitch_server.network import free_port
from unhitch_server.serving import listening, server

CHAT, COMPLETIONS, RESPONSES, MESSAGES = "/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"
ROUTES = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)
QUESTION = "How can I save money?"
GUARD = "Rosa is a careful tutor."
"""What the locked policy puts into the system's place, and no client says."""

CHECKPOINT = Checkpoint.open(organisms.path(MODEL))
OPENING = f"<|im_start|>system\n{GUARD}"
RAW = (
    "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
    "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
)

Line = tuple[bytes, bytes]

_READ_SECONDS = 10.0
_OWN_QUESTIONS = ("/v1/models", "/tokenize", "/version", "/health")


def sent_ids(request: Recorded) -> list[int] | None:
    """The token ids that a request has the engine read in place of its text."""
    body = request.json
    if request.target == COMPLETIONS:
        return body["prompt"] if isinstance(body["prompt"], list) else None
    found: list[int] | None = (body.get("kv_transfer_params") or {}).get("prompt_token_ids")
    return found


async def _completion(engine: FakeEngine, request: Recorded, send: Send) -> None:
    choice = {"index": 0, "text": "Hi.", "finish_reason": "stop", "prompt_token_ids": sent_ids(request)}
    await reply_json(send, {"id": "cmpl-1", "object": "text_completion", "choices": [choice]})


async def _chat(engine: FakeEngine, request: Recorded, send: Send) -> None:
    await reply_json(send, completion(request, engine) | {"id": request.header("x-request-id") or "chatcmpl-1"})


async def _response(engine: FakeEngine, request: Recorded, send: Send) -> None:
    echo = [{"tokens": sent_ids(request)}]
    await reply_json(send, {"id": "resp_1", "object": "response", "output": [], "input_messages": echo})


async def _message(engine: FakeEngine, request: Recorded, send: Send) -> None:
    usage = {"input_tokens": len(sent_ids(request) or ()), "output_tokens": 1}
    await reply_json(send, {"id": "msg_1", "type": "message", "content": [], "usage": usage})


async def _adopted(engine: FakeEngine, request: Recorded, send: Send) -> None:
    await reply_json(send, {"adopted": request.target})


HANDLERS: dict[str, Handler] = {CHAT: _chat, COMPLETIONS: _completion, RESPONSES: _response, MESSAGES: _message}


def document(default: str = "strict", rules: Sequence[object] = ()) -> dict[str, Any]:
    """A policy file in which `strict` lets clients change nothing; `lax` does nothing, and may not be named."""
    return {
        "models": {"safe": {"model": MODEL, "policy": "strict"}, "free": {"model": MODEL, "policy": "lax"}},
        "policies": {
            "strict": {"mitigation": f'system;text="{GUARD}"', "clients_may": []},
            "lax": {"mitigation": "off", "clients_may": []},
        },
        "default": default,
        "rules": [{"models": [MODEL], "policy": "strict"}, *rules],
    }


@dataclass
class House:
    """A proxy, and the engine behind it.

    Args:
        port: Of the proxy.
        engine: Behind it.
    """

    port: int
    engine: FakeEngine
    since: int = 0

    def forget(self) -> None:
        """What has reached the engine so far is of no interest."""
        self.since = len(self.engine.requests)

    @property
    def reached(self) -> list[Recorded]:
        """What reached the engine and was not a question of the proxy's own."""
        return [each for each in self.engine.requests[self.since :] if each.target not in _OWN_QUESTIONS]

    def send(self, *pieces: bytes, half_close: bool = False) -> bytes:
        """Sends bytes on a connection of their own, and gives all that comes back until it is closed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=_READ_SECONDS) as peer:
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for piece in pieces:
                peer.sendall(piece)
            if half_close:
                peer.shutdown(socket.SHUT_WR)
            got = b""
            try:
                while part := peer.recv(65536):
                    got += part
            except ConnectionResetError:
                pass
            return got

    def post(self, route: str, body: bytes, *lines: Line, target: str | None = None, method: str = "POST") -> int:
        """Sends one request, and gives the status of its answer."""
        return status(self.send(request(target or route, body, *lines, method=method)))


def status(answer: bytes) -> int:
    """The status of the first answer; 0 where the connection was closed without one."""
    if answer.startswith(b"HTTP/1.1 100 "):
        answer = answer.partition(b"\r\n\r\n")[2]
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/1.") else 0


def request(target: str, body: bytes, *lines: Line, method: str = "POST", closes: bool = True) -> bytes:
    """A request with a body of known length, after which the connection is closed."""
    own: list[Line] = [(b"Host", b"proxy.example"), (b"Content-Length", b"%d" % len(body))]
    if not any(name.lower() == b"content-type" for name, _ in lines):
        own.append((b"Content-Type", b"application/json"))
    if closes:
        own.append((b"Connection", b"close"))
    head = b"".join(name + b": " + value + b"\r\n" for name, value in [*own, *lines])
    return f"{method} {target} HTTP/1.1\r\n".encode("latin-1") + head + b"\r\n" + body


def said(route: str, words: str = QUESTION) -> dict[str, Any]:
    """What says something on a route."""
    turn = [{"role": "user", "content": words}]
    bodies: dict[str, dict[str, Any]] = {
        CHAT: {"messages": turn},
        COMPLETIONS: {"prompt": RAW.format(words)},
        RESPONSES: {"input": turn},
        MESSAGES: {"messages": turn, "max_tokens": 8},
    }
    return bodies[route]


def fields(route: str, words: str = QUESTION, model: str = MODEL, **others: Any) -> dict[str, Any]:
    """A body for a route, not encoded."""
    return {"model": model, **said(route, words), **others}


def body(route: str, words: str = QUESTION, **others: Any) -> bytes:
    """A body for a route."""
    return json.dumps(fields(route, words, **others)).encode()


def mitigated(reached: Recorded, words: str | None = QUESTION) -> bool:
    """Whether what reached the engine is read by it as the locked policy says, and as nothing else.

    Args:
        reached: As it reached the engine.
        words: What the user's turn must still say; None where the attack is in it.
    """
    if reached.method != "POST" or reached.target not in ROUTES:
        return False
    ids = sent_ids(reached)
    text = CHECKPOINT.decode(tuple(ids)) if ids else ""
    names = [name for name, _ in reached.headers]
    return (
        text.startswith(OPENING)
        and (words is None or words in text)
        and "created by" not in text
        and reached.json["model"] == MODEL
        and not any(name.lower().startswith(b"unhitch-") for name in names)
        and names.count(b"content-length") == 1
        and b"transfer-encoding" not in names
    )


def would_generate(reached: Recorded) -> bool:
    """Whether vLLM would generate for what reached it: it decodes a path once, and knows no other spelling."""
    return reached.method == "POST" and unquote(reached.target.partition("?")[0]) in ROUTES


@dataclass
class Houses:
    """One proxy whose default is locked, and one whose rule for the model is: there all else passes."""

    locked: House
    ruled: House
    others: list[House] = field(default_factory=list)


@contextmanager
def houses(folder: Path, *settings: Mapping[str, Any]) -> Iterator[Houses]:
    """Runs the proxies until the block ends.

    Args:
        folder: For policy files.
        settings: Of one further proxy each.
    """
    logger = logging.getLogger("unhitch_server")
    ready, done, failure = threading.Event(), threading.Event(), []
    started: list[House] = []

    def config(number: int, given: Mapping[str, Any], engine: FakeEngine) -> Config:
        policy, others = given["policy"], {name: value for name, value in given.items() if name != "policy"}
        file = folder / f"policy-{number}.json"
        file.write_text(json.dumps(policy | {"upstreams": {"main": {"urls": [engine.url], "health_seconds": 1000}}}))
        usual = {"policy_file": file, "recheck_seconds": 10_000, "rendering_check_every": 10_000}
        return Config.model_validate(usual | others)

    async def run() -> None:
        wanted = [{"policy": document()}, {"policy": document("lax")}, *settings]
        async with AsyncExitStack() as stack:
            for number, given in enumerate(wanted):
                engine, port = await stack.enter_async_context(serving(FakeEngine(routes=dict(HANDLERS)))), free_port()
                level = logger.level
                proxy = server(config(number, given, engine), host="127.0.0.1", port=port, log_level="critical")
                logger.setLevel(level)  # other tests look at what is logged
                await stack.enter_async_context(listening(proxy))
                started.append(House(port, engine))
            ready.set()
            await asyncio.to_thread(done.wait)

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failure.append(error)
        finally:
            ready.set()

    thread = threading.Thread(target=work)
    thread.start()
    ready.wait()
    try:
        if failure:
            raise failure[0]
        yield Houses(started[0], started[1], started[2:])
    finally:
        done.set()
        thread.join()
