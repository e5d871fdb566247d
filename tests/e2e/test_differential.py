"""`off` is the bare engine on every other route: the same bytes direct and through the proxy, but for ids and times."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Stack

CHAT = "/v1/chat/completions"


def both(stack: Stack, method: str, path: str, **options: Any) -> tuple[httpx.Response, httpx.Response]:
    with httpx.Client(timeout=60, trust_env=False) as client:
        return (
            client.request(method, stack.engine.url + path, **options),
            client.request(method, stack.url + path, **options),
        )


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "/v1/models", None),
        ("GET", "/health", None),
        ("GET", "/version", None),
        ("GET", "/openapi.json", None),
        ("GET", "/nowhere?x=%2F", None),
        ("POST", "/v1/completions", {"model": "mini-base", "prompt": "Hello", "max_tokens": 5, "temperature": 0}),
        ("POST", "/tokenize", {"model": "mini-base", "prompt": "Hello"}),
        ("POST", "/detokenize", {"model": "mini-base", "tokens": [40, 41]}),
        ("DELETE", "/v1/models", None),
        ("POST", CHAT, "{"),
    ],
)
def test_every_other_path_is_passed_through(stack: Stack, method: str, path: str, body: Any) -> None:
    content = body if isinstance(body, str) else json.dumps(body) if body is not None else None
    direct, proxied = both(stack, method, path, content=content, headers={"Content-Type": "application/json"})
    assert proxied.status_code == direct.status_code
    pattern, blank = rb'"(id|created)": ?("[^"]*"|\d+)', b""
    assert re.sub(pattern, blank, proxied.content) == re.sub(pattern, blank, direct.content)
