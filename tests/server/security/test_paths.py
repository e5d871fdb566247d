"""No way of writing a path, and no method, leads past a locked policy or to a control route without its key."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.server.security.house import (
    CHAT,
    ROUTES,
    House,
    Line,
    body,
    document,
    houses,
    mitigated,
    request,
    status,
    would_generate,
)
from unhitch_server.access.keys import Keys

SPELLINGS = [
    "/{0}", "//{0}", "{0}/", "{0}//", "/.{0}", "/x/..{0}", "/v1/..{0}", "/v1/%2e%2e{0}", "/%2e{0}", "/%2f{0}",
    "/%2F{0}",
    "{0};x", "{0};/", "{0}/.", "{0}/%2e", "{0}/x/..", "{0}%20", "{0}%00", "{0}%3f", "{0}%23", "{0}%0d%0a", "{0}%2f",
    "{0}.json", "/v2/..{0}", "\\\\{0}", "{0}\\\\", "/proxy{0}", "*{0}", "*@127.0.0.1{0}", "http:{0}",
]  # fmt: skip
OTHER_HOSTS = ["http://other.example{0}", "https://unhitch@other.example:1{0}"]
QUERIES = [
    "?unhitch-mitigation=off",
    "?Unhitch-Mitigation=off&unhitch_policy=lax",
    "?/v1/models",
    "?",
    "#off",
    "?x=%0d%0aUnhitch-Mitigation:off",
]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_no_other_spelling_of_a_path_reaches_what_generates(
    locked: House, ruled: House, route: str, spelling: str
) -> None:
    for house in (locked, ruled):
        house.post(route, body(route), target=spelling.format(route))
    assert locked.reached == []
    assert not any(would_generate(each) and not mitigated(each) for each in ruled.reached)


@pytest.mark.parametrize("route", ROUTES)
def test_no_escaped_letter_and_no_other_case_does(locked: House, ruled: House, route: str) -> None:
    middle = len(route) // 2
    escaped = f"{route[:middle]}%{ord(route[middle]):02x}{route[middle + 1 :]}"
    doubly = escaped.replace("%", "%25")
    for target in (
        escaped,
        doubly,
        route.upper(),
        route.title(),
        route.replace("/", "%2f"),
        f"/{route[1:].replace('/', '%2F')}",
    ):
        for house in (locked, ruled):
            house.post(route, body(route), target=target)
            assert not any(would_generate(each) and not mitigated(each) for each in house.reached)
    assert locked.reached == []


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("form", OTHER_HOSTS)
def test_the_absolute_form_of_a_target_is_the_path_in_it_whatever_host_it_names(
    locked: House, route: str, form: str
) -> None:
    assert locked.post(route, body(route), target=form.format(route)) == 200
    (reached,) = locked.reached
    assert mitigated(reached)
    assert reached.header("host") == locked.engine.url.removeprefix("http://")


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("query", QUERIES)
def test_a_query_says_nothing(locked: House, ruled: House, route: str, query: str) -> None:
    for house in (locked, ruled):
        house.post(route, body(route), target=route + query)
        (reached,) = house.reached
        reached.target = reached.target.partition("?")[0]
        assert mitigated(reached)


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize(
    "method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "post", "POST\t", "CONNECT"]
)
def test_no_other_method_generates(locked: House, route: str, method: str) -> None:
    locked.post(route, body(route), method=method)
    assert not any(each.method not in ("GET", "HEAD", "OPTIONS") for each in locked.reached)


CONTROL_KEY = "the-operators-own-control-key"


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A proxy with a key for control routes and one for a client, and the client's."""
    folder = tmp_path_factory.mktemp("guarded")
    keys, secret = Keys().added("team", models=["*"])
    keys.write(folder / "keys.json")
    settings = {"policy": document(), "key_file": folder / "keys.json", "control_key": CONTROL_KEY}
    with houses(folder, settings) as started:
        house = started.others[0]
        assert house.post(CHAT, body(CHAT), bearer(secret)) == 200  # its probes are over then
        yield house, secret


CONTROL = [
    "/unhitch/v1/strategies", "/unhitch/v1/policies", "/unhitch/v1/scorecards", "/unhitch/v1/status",
    "/unhitch/v1/openapi.json", "/metrics", "/ui/", "/reset_prefix_cache", "/v1/load_lora_adapter", "/server_info",
]  # fmt: skip
WAYS = [
    "{0}", "/{0}", "{0}/", "/.{0}", "/v1/..{0}", "/unhitch/v1/../..{0}", "/v1/%2e%2e{0}", "/%2f{0}", "/%252f{0}",
    "http://other.example{0}", "{0}?x", "{0};x", "/\\{0}",
]  # fmt: skip


def bearer(key: str) -> Line:
    return (b"Authorization", b"Bearer " + key.encode())


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "POST"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("path", CONTROL)
def test_no_control_route_answers_without_its_key_however_it_is_written(
    guarded: tuple[House, str], path: str, way: str, method: str
) -> None:
    house, key = guarded
    house.forget()
    for lines in ([], [bearer(key)], [(b"x-api-key", key.encode())], [bearer(CONTROL_KEY + "x")]):
        answer = house.send(request(way.format(path), b"{}", *lines, method=method))
        assert status(answer) in (400, 401, 403, 404)
        assert b"access-control-" not in answer.lower()
    assert house.reached == []


@pytest.mark.parametrize("path", ["/unhitch/v1/strategies", "/UNHITCH/v1/strategies", "/Unhitch/V1/policies", CHAT])
def test_a_preflight_of_another_origin_is_granted_nothing(guarded: tuple[House, str], path: str) -> None:
    house, _ = guarded
    lines = [
        (b"Origin", b"https://evil.example"),
        (b"Access-Control-Request-Method", b"POST"),
        (b"Access-Control-Request-Headers", b"authorization, unhitch-mitigation"),
    ]
    answer = house.send(request(path, b"", *lines, method="OPTIONS")).lower()
    assert b"access-control-allow" not in answer
    assert status(answer.upper()) in (400, 401, 403, 404)


def test_a_name_that_was_led_here_needs_the_key_as_any_other_does(guarded: tuple[House, str]) -> None:
    """DNS rebinding gives a page the proxy's address under a name of its own, and no key with it."""
    house, _ = guarded
    rebound = b"GET /unhitch/v1/status HTTP/1.1\r\nHost: evil.example\r\nOrigin: http://evil.example\r\n"
    assert status(house.send(rebound + b"Connection: close\r\n\r\n")) == 401
    assert (
        status(
            house.send(rebound + b"Authorization: Bearer " + CONTROL_KEY.encode() + b"\r\nConnection: close\r\n\r\n")
        )
        == 200
    )


def test_the_control_key_is_no_clients_key_and_does_not_reach_the_engine(guarded: tuple[House, str]) -> None:
    house, key = guarded
    house.forget()
    assert house.post(CHAT, body(CHAT), bearer(CONTROL_KEY)) == 401
    assert house.reached == []
    assert house.post(CHAT, body(CHAT), bearer(key)) == 200
    (reached,) = house.reached
    assert mitigated(reached)
    assert not any(key.encode() in value for _, value in reached.headers)


def test_both_keys_together_open_nothing(guarded: tuple[House, str]) -> None:
    house, key = guarded
    both = [bearer(key), (b"x-api-key", CONTROL_KEY.encode())]
    for target, method in (("/unhitch/v1/status", "GET"), (CHAT, "POST")):
        assert house.post(target, body(CHAT), *both, method=method) == 401
    twice = [bearer(key), bearer(CONTROL_KEY)]
    assert house.post("/unhitch/v1/status", b"", *twice, method="GET") == 401


def test_explaining_is_an_operators_too(guarded: tuple[House, str]) -> None:
    house, key = guarded
    asked = json.dumps({"model": "mini-base", "messages": [{"role": "user", "content": "x"}]}).encode()
    assert house.post("/unhitch/v1/explain", asked, bearer(key)) == 401
    assert house.post("/unhitch/v1/explain", asked, bearer(CONTROL_KEY)) not in (401, 403, 404)
