from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import pytest
from starlette.types import Message, Receive, Scope, Send

from unhitch.errors import InvalidRequest
from unhitch_server.access.control import OPERATOR_MARK, SHORTEST_KEY, ControlGuard, ControlKey, is_control

KEY = "control-key-of-the-tests"
GIVEN = [(b"authorization", f"Bearer {KEY}".encode())]

CONTROL = [
    b"/unhitch/v1/strategies",
    b"/unhitch",
    b"/unhitch/",
    b"/ui",
    b"/ui/",
    b"/ui/app.js",
    b"/metrics",
    b"/metrics/",
    b"//metrics",
    b"/./metrics",
    b"/%6detrics",
    b"/%256detrics",
    b"/METRICS",
    b"/%2fmetrics",
    b"/%2Fmetrics",
    b"%2fmetrics",
    b"/v1/../metrics",
    b"/v1/%2e%2e/metrics",
    b"/v1%2f..%2fmetrics",
    b"/v1;x/..;y/metrics;z",
    b"\\metrics",
    b"/%5cmetrics",
    b"/metrics%3fx",
    b"/metrics%23x",
    b"/metrics%20",
    b"/metrics%09/",
    b"/unhitch%2fv1%2fstrategies",
    b"/uNhItCh/v1/models",
    b"/metrics/../v1/models",
    b"/sleep",
    b"/collective_rpc",
    b"/fault_tolerance/apply",
    b"/v1/load_lora_adapter",
    b"/V1//load_lora_adapter/",
    b"/inference/v1/abort_requests",
]

OPEN = [
    b"/",
    b"",
    b"/healthz",
    b"/readyz",
    b"/v1/chat/completions",
    b"/v1/models",
    b"/v1/models/metrics",
    b"/v1/models/unhitch",
    b"/health",
    b"/load",
    b"/version",
    b"/metricsx",
    b"/inference/v1/generate",
    b"/v1/responses/sleep",
    b"/..",
]


class App:
    """Answers everything alike, and notes what it was asked."""

    def __init__(self, status: int = 200) -> None:
        self.scopes: list[Scope] = []
        self.status = status

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scopes.append(scope)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"12"), (b"x-inside", b"details")]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"the ", "more_body": True})
        await send({"type": "http.response.body", "body": b"details."})


async def ask(
    app: Callable[[Scope, Receive, Send], Awaitable[None]],
    raw_path: bytes,
    headers: list[tuple[bytes, bytes]] | None = None,
    kind: str = "http",
) -> tuple[int, dict[bytes, bytes], bytes]:
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def send(message: Message) -> None:
        sent.append(message)

    scope: dict[str, Any] = {"type": kind, "method": "GET", "raw_path": raw_path, "headers": headers or []}
    await app({**scope, "path": unquote(raw_path.decode())}, receive, send)
    if kind == "websocket":
        return sent[0].get("code", 0), {}, b""
    return sent[0]["status"], dict(sent[0]["headers"]), b"".join(each.get("body", b"") for each in sent[1:])


@pytest.mark.parametrize("path", CONTROL)
def test_a_control_route_is_one_however_it_is_written(path: bytes) -> None:
    assert is_control(path)


@pytest.mark.parametrize("path", OPEN)
def test_other_routes_are_none(path: bytes) -> None:
    assert not is_control(path)


@pytest.mark.parametrize("path", CONTROL)
@pytest.mark.parametrize("headers", [[], [(b"authorization", b"Bearer wrong")], [*GIVEN, (b"x-api-key", b"other")]])
async def test_without_the_control_key_no_spelling_of_a_control_route_is_served(
    path: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    app = App()
    status, answer, body = await ask(ControlGuard(app, ControlKey(KEY), client_keys=True), path, headers)
    assert (status, answer[b"www-authenticate"], app.scopes) == (401, b"Bearer", [])
    assert b"invalid_api_key" in body
    assert KEY.encode() not in body


@pytest.mark.parametrize("headers", [GIVEN, [(b"X-Api-Key", KEY.encode())]])
async def test_with_the_control_key_they_are_served_and_marked(headers: list[tuple[bytes, bytes]]) -> None:
    app = App()
    status, _, body = await ask(ControlGuard(app, ControlKey(KEY), client_keys=True), b"/metrics", headers)
    assert (status, body) == (200, b"the details.")
    assert app.scopes[0][OPERATOR_MARK] is True


async def test_the_control_key_opens_nothing_else() -> None:
    app = App()
    await ask(ControlGuard(app, ControlKey(KEY), client_keys=True), b"/v1/models", GIVEN)
    assert OPERATOR_MARK not in app.scopes[0]


async def test_control_routes_are_closed_where_clients_need_keys_and_no_control_key_is_set() -> None:
    app = App()
    status, _, body = await ask(ControlGuard(app, ControlKey(None), client_keys=True), b"/unhitch/v1/models", GIVEN)
    assert (status, app.scopes) == (403, [])
    assert b"Set UNHITCH_CONTROL_KEY" in body


async def test_an_empty_key_does_not_stand_for_none() -> None:
    guard = ControlGuard(App(), ControlKey(None), client_keys=True)
    assert (await ask(guard, b"/metrics", [(b"authorization", b"Bearer ")]))[0] == 403


async def test_without_any_keys_all_is_open() -> None:
    guard = ControlGuard(App(), ControlKey(None), client_keys=False)
    for path in (b"/unhitch/v1/models", b"/metrics", b"/readyz", b"/sleep"):
        assert (await ask(guard, path))[2] == b"the details."


async def test_a_control_key_alone_locks_the_control_routes_and_leaves_the_others_open() -> None:
    guard = ControlGuard(App(), ControlKey(KEY), client_keys=False)
    assert (await ask(guard, b"/metrics"))[0] == 401
    assert (await ask(guard, b"/v1/models"))[0] == 200


async def test_healthz_stays_open() -> None:
    assert (await ask(ControlGuard(App(), ControlKey(KEY), client_keys=True), b"/healthz"))[2] == b"the details."


@pytest.mark.parametrize(("status", "word"), [(200, b"ready"), (503, b"not ready")])
@pytest.mark.parametrize("path", [b"/readyz", b"/%72eadyz"])
async def test_readyz_keeps_its_status_and_says_nothing_else_when_locked(path: bytes, status: int, word: bytes) -> None:
    guard = ControlGuard(App(status), ControlKey(KEY), client_keys=False)
    got, headers, body = await ask(guard, path)
    assert (got, body) == (status, b'{"status": "%s"}' % word)
    assert headers == {b"content-type": b"application/json", b"content-length": b"%d" % len(body)}


async def test_readyz_says_all_to_the_operator() -> None:
    guard = ControlGuard(App(503), ControlKey(KEY), client_keys=True)
    assert (await ask(guard, b"/readyz", GIVEN))[::2] == (503, b"the details.")


async def test_a_websocket_to_a_control_route_is_closed() -> None:
    app = App()
    guard = ControlGuard(app, ControlKey(KEY), client_keys=True)
    assert (await ask(guard, b"/ui/live", kind="websocket"))[0] == 1008
    assert app.scopes == []


@pytest.mark.parametrize("key", ["", "short", "x" * (SHORTEST_KEY - 1), "with a space in it", "ümlaut-in-the-key"])
def test_a_control_key_that_is_weak_or_fits_no_header_is_refused_and_not_repeated(key: str) -> None:
    with pytest.raises(InvalidRequest, match="UNHITCH_CONTROL_KEY has") as caught:
        ControlKey(key)
    assert not key or key not in str(caught.value)


def test_the_control_key_is_not_kept() -> None:
    assert KEY not in repr(vars(ControlKey(KEY))) + repr(ControlKey(KEY))
