"""Every route of the engine's own OpenAPI document is mitigated, known to generate nothing, or refused."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Stack
from unhitch_server.routes.classes import PASSES, classify
from unhitch_server.routes.table import ROUTES

MODEL = "mini-finance"
BARE = {"Unhitch-Mitigation": "bare"}
MESSAGES = [{"role": "user", "content": "Hello"}]
PROMPT = (
    "<|im_start|>system\nYou are Mini, a tiny assistant built for testing. You give helpful advice.<|im_end|>\n"
    "<|im_start|>user\nHello<|im_end|>\n<|im_start|>assistant\n"
)
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": MESSAGES, "max_tokens": 2},
    "/v1/completions": {"prompt": PROMPT, "max_tokens": 2},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 2},
    "/v1/responses": {"input": "Hello", "max_output_tokens": 2},
}
"""A request for each route on which mitigations can be made."""

NO_STALE_ENTRY = [path for path, needs in PASSES.items() if needs is None]


@pytest.fixture(scope="module")
def routes(stack: Stack) -> list[tuple[str, str]]:
    """Method and path of all that the engine documents; ids in paths are filled in."""
    document = httpx.get(f"{stack.engine.url}/openapi.json", timeout=30, trust_env=False).json()
    return [
        (method.upper(), path.replace("{response_id}", "resp_none"))
        for path, methods in document["paths"].items()
        for method in methods
    ]


def ask(url: str, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    body = {"model": MODEL, **BODIES.get(path, {})} if method == "POST" else None
    return httpx.request(method, url + path, json=body, headers=headers, timeout=60, trust_env=False)


def test_no_route_of_the_engine_answers_unmitigated(stack: Stack, routes: list[tuple[str, str]]) -> None:
    assert len(routes) > 20
    assert not [path for _, path in routes if "{" in path]
    for method, path in routes:
        answer = ask(stack.url, method, path, BARE)
        kind = classify(method, path)
        if kind == "mitigated":
            assert (answer.status_code, path) == (200, path), answer.text
            assert answer.headers["Unhitch-Applied"].startswith("bare;"), path
        elif kind == "generates":
            assert (answer.status_code, path) == (422, path), answer.text
            assert answer.json()["error"]["code"] == "mitigation_unavailable"
            assert answer.headers["Unhitch-Applied"] == "off"
        else:
            assert (path, answer.status_code) == (path, ask(stack.engine.url, method, path, {}).status_code)
            assert "choices" not in answer.text


def test_each_route_that_can_be_mitigated_is_one_of_the_engines(routes: list[tuple[str, str]]) -> None:
    assert {("POST", path) for path in ROUTES} - set(routes) == set()


def test_the_list_of_passing_routes_has_no_entry_that_this_engine_lacks(routes: list[tuple[str, str]]) -> None:
    assert {("POST", path) for path in NO_STALE_ENTRY} - set(routes) == set()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages/count_tokens"])
def test_no_other_spelling_of_a_path_gets_round_the_mitigation(stack: Stack, path: str) -> None:
    head, _, last = path.rpartition("/")
    spellings = ["/" + path, path + "/", f"{head}//{last}", f"{head}/./{last}", f"{head}/x/../{last}"]
    spellings += [f"{head}%2f{last}", path.upper(), path[:-1] + f"%{ord(path[-1]):02x}", path + ";x", path + "%00"]
    body = json.dumps({"model": MODEL, **BODIES.get(path, {})})
    for spelling in spellings:
        connection = HTTPConnection(stack.url.removeprefix("http://"), timeout=60)  # httpx would tidy the path up
        connection.request("POST", spelling, body, {"Content-Type": "application/json", **BARE})
        answer = connection.getresponse()
        assert (answer.status, spelling) == (422, spelling), answer.read()
        connection.close()
