"""`off` is the bare engine on every other route, and a mitigation leaves those alone on which nothing is generated."""

import json
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Stack
from tests.e2e.differential.answers import settled
from tests.e2e.differential.bodies import messages
from tests.e2e.differential.bodies.chat import ASK, WEATHER

CHAT = "/v1/chat/completions"
COUNT = "/v1/messages/count_tokens"
COUNTED = {"model": "mini-base", "messages": [ASK]}

GENERATES_NOTHING: list[tuple[str, str, Any]] = [
    ("GET", "/health", None),
    ("GET", "/version", None),
    ("GET", "/openapi.json", None),
    ("GET", "/nowhere?x=%2F", None),
    ("POST", "/tokenize", {"model": "mini-base", "prompt": "Hello"}),
    ("POST", "/tokenize", {"model": "mini-base", "messages": [ASK], "tools": [WEATHER], "no_such_field": 1}),
    ("POST", "/detokenize", {"model": "mini-base", "tokens": [40, 41]}),
    ("POST", COUNT, COUNTED),
    ("POST", COUNT, COUNTED | {"system": [{"type": "text", "text": "Be kind."}], "no_such_field": {"x": 1}}),
    ("POST", COUNT, COUNTED | {"tools": [messages.TOOL], "tool_choice": {"type": "any"}}),
    ("POST", COUNT, COUNTED | {"thinking": {"type": "enabled", "budget_tokens": 1024}}),
    ("POST", COUNT, COUNTED | {"messages": 7}),
    ("POST", COUNT, COUNTED | {"model": "gpt-9"}),
    ("POST", COUNT, "{"),
]


def ask(url: str, method: str, path: str, body: Any, **headers: str) -> httpx.Response:
    content = body if isinstance(body, str) else json.dumps(body) if body is not None else None
    headers = {"Content-Type": "application/json", **headers}
    return httpx.request(method, url + path, content=content, headers=headers, timeout=60, trust_env=False)


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [*GENERATES_NOTHING, ("GET", "/v1/models", None), ("DELETE", "/v1/models", None), ("POST", CHAT, "{")],
)
def test_every_other_path_is_passed_through(stack: Stack, method: str, path: str, body: Any) -> None:
    direct, proxied = ask(stack.engine.url, method, path, body), ask(stack.url, method, path, body)
    assert proxied.status_code == direct.status_code
    assert settled(proxied.content) == settled(direct.content)


@pytest.mark.parametrize(("method", "path", "body"), GENERATES_NOTHING)
def test_a_mitigation_changes_nothing_where_nothing_is_generated(
    stack: Stack, method: str, path: str, body: Any
) -> None:
    direct = ask(stack.engine.url, method, path, body)
    mitigated = ask(stack.url, method, path, body, **{"Unhitch-Mitigation": "bare"})
    assert mitigated.status_code == direct.status_code
    assert settled(mitigated.content) == settled(direct.content)
    assert mitigated.headers["unhitch-applied"] == "off"
