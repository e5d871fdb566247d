from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from tests.server.fake_connector import CHAT, COMPLETIONS, FakeConnector
from tests.server.fake_engine import MODEL, FakeEngine
from unhitch.errors import InvalidBody, RouteNotFound
from unhitch.states.patch import STATES_ROUTE
from unhitch_server.states.guard import may_capture, refuse_capture, refuse_states_route

ID = "e" * 64
CAPTURE = {"kv_transfer_params": {"unhitch": {"capture": {"span": "prefix"}}}}
BODY = {"model": MODEL, "prompt": [1, 2], **CAPTURE}
TEXT = json.dumps(BODY)

STATES_PATHS = [
    STATES_ROUTE,
    f"{STATES_ROUTE}/",
    f"{STATES_ROUTE}//",
    f"{STATES_ROUTE}/{ID}",
    f"{STATES_ROUTE}%2f{ID}",
    "//v1/unhitch/states",
    "/v1//unhitch/states",
    "/v1/unhitch%2Fstates",
    "/v1/unhitch%252Fstates",
    "/v1/un%68itch/states",
    "/%76%31/%75%6E%68%69%74%63%68/%73tates",
    "/V1/Unhitch/STATES",
    "/v1/./unhitch/states/.",
    "/v1/models/../unhitch/states",
    "/v1/models/%2e%2e/unhitch/states",
    f"{STATES_ROUTE}/../x",
    "/v1/unhitch\\states",
    "/prefix/v1/unhitch/states",
    f"{STATES_ROUTE}#x",
    f"{STATES_ROUTE}%3Fx=1",
    f"{STATES_ROUTE};x=1",
]


@pytest.mark.parametrize("path", STATES_PATHS)
def test_the_engines_states_are_not_for_clients_however_their_path_is_written(path: str) -> None:
    with pytest.raises(RouteNotFound, match="not for clients"):
        refuse_states_route(path.encode())


@pytest.mark.parametrize(
    "path", ["/", "/v1/models", "/v1/states", "/v1/unhitch/statesmen", "/v1/unhitch/x", "/a%zz", "/%ff", "/..", "/%25"]
)
def test_other_paths_are_let_through(path: str) -> None:
    refuse_states_route(path.encode())


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize(
    "path", [STATES_ROUTE, f"{STATES_ROUTE}/{ID}?x=1", "//v1/unhitch/states", "/v1/unhitch%2fstates"]
)
async def test_no_request_for_the_engines_states_reaches_it(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, method: str, path: str
) -> None:
    await client.get("/readyz")
    engine.requests.clear()
    answer = await client.request(method, f"{str(client.base_url).rstrip('/')}{path}")
    assert answer.status_code == 404
    if method != "HEAD":
        assert answer.json()["error"]["code"] == "route_not_found"
    assert not engine.requests


def escaped(word: str) -> str:
    return "".join(f"\\u{ord(letter):04X}" for letter in word)


ASKING = [
    TEXT.encode(),
    json.dumps({"sampling_params": {"extra_args": CAPTURE}}).encode(),
    json.dumps([[{"x": BODY}]]).encode(),
    b"\xef\xbb\xbf" + TEXT.encode(),
    TEXT.encode("utf-16"),
    TEXT.encode("utf-16-be"),
    TEXT.encode("utf-32-le"),
    TEXT.replace("capture", "\\u0063apture").encode(),
    TEXT.replace("capture", "captur\\u0065").encode(),
    TEXT.replace("unhitch", escaped("unhitch")).encode(),
    TEXT.replace("unhitch", escaped("unhitch")).replace("capture", escaped("capture")).encode(),
    TEXT.replace('"kv_transfer_params"', '"kv\\u005ftransfer_params"').encode(),
    TEXT.replace('"kv_transfer_params"', '"kv_transfer_params": {}, "kv_transfer_params"').encode(),
    TEXT.replace('"model"', f'"big": {"1" * 5000}, "model"').encode(),
    TEXT.replace('"capture":', '"patches": [], "capture" :').encode(),
]


@pytest.mark.parametrize("body", ASKING)
def test_a_capture_is_found_however_it_is_written(body: bytes) -> None:
    assert may_capture(body)
    with pytest.raises(InvalidBody, match="for the proxy alone") as caught:
        refuse_capture(body)
    assert caught.value.param == "kv_transfer_params.unhitch.capture"


def test_a_body_in_which_nobody_can_look_is_refused() -> None:
    body = TEXT.replace('"model"', f'"x": {"[" * 100_000}{"]" * 100_000}, "model"').encode()
    assert may_capture(body)
    with pytest.raises(InvalidBody, match="nested too deeply"):
        refuse_capture(body)


LETTING: list[Any] = [
    {"kv_transfer_params": {"unhitch": {"patches": []}}, "user": "capture"},
    {"unhitch": {"capture": 1}},
    {"kv_transfer_params": {"unhitch": "capture", "capture": 1}},
    {"messages": [{"role": "user", "content": TEXT}]},
    [],
    "x",
    None,
]


@pytest.mark.parametrize("value", LETTING)
def test_what_only_looks_like_a_capture_is_let_through(value: Any) -> None:
    refuse_capture(json.dumps(value).encode())


@pytest.mark.parametrize("body", [b"", b'{"unhitch" "capture"', b"--x\r\n\0\xff\xfe", b"\0", b'{"capture'])
def test_what_is_no_json_is_the_engines_to_refuse(body: bytes) -> None:
    refuse_capture(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [{"role": "user", "content": "Bitte capture unhitch"}]}',
        b'{"content": "\\u00e9\\u4e2d\\n\\u003c"}',
        b'{"kv_transfer_params": {"unhitch": {"patches": []}}}',
        "{'é'}".encode(),
    ],
)
def test_usual_bodies_are_not_decoded(body: bytes) -> None:
    assert not may_capture(body)


@pytest.mark.parametrize("body", [TEXT.encode(), TEXT.encode("utf-16")])
@pytest.mark.parametrize("route", [CHAT, COMPLETIONS, "/inference/v1/generate"])
async def test_no_clients_capture_reaches_the_engine(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine, route: str, body: bytes
) -> None:
    await client.get("/readyz")
    engine.requests.clear()
    answer = await client.post(route, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_body"
    assert answer.json()["error"]["param"] == "kv_transfer_params.unhitch.capture"
    assert not engine.requests


async def test_a_clients_own_patches_pass_as_they_came_where_no_mitigation_is_asked_for(
    connector: FakeConnector, client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    patches = [{"state": next(iter(connector.states)), "start": 0, "tokens": 1}]
    body = json.dumps({"messages": [], "kv_transfer_params": {"unhitch": {"patches": patches}}, "x": 1e2}).encode()
    await client.post(CHAT, content=body + b" ")
    assert engine.asked(CHAT)[-1].body == body + b" "
