"""`off` is the bare engine: a request gives the same bytes direct and through the proxy, but for ids and times."""

import json
import re
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Stack
from tests.e2e.test_chat import TOOL

CHAT = "/v1/chat/completions"
HELLO: dict[str, Any] = {
    "model": "mini-finance",
    "messages": [{"role": "user", "content": "How do I treat a fever?"}],
    "temperature": 0,
    "max_tokens": 12,
}
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}
BODIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "logprobs": {"logprobs": True, "top_logprobs": 2, "prompt_logprobs": 1},
    "several": {"n": 2},
    "sampled": {"temperature": 1, "seed": 7, "n": 2},
    "tools": {"tools": [TOOL], "tool_choice": "required", "max_tokens": 40},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    "ids": {"return_token_ids": True},
    "stop": {"stop": ["e"], "include_stop_str_in_output": True},
    "bias": {"logit_bias": {"40": 5}},
    "system": {"messages": [{"role": "system", "content": "Be kind."}, *HELLO["messages"]]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "How do I treat a fever?"}]}]},
    "unknown": {"no_such_field": {"x": 1}},
    "too long": {"max_tokens": 100000},
    "bad role": {"messages": [{"role": 3}]},
    "no model": {"model": "gpt-9"},
}
STREAMED = ("plain", "logprobs", "several", "sampled", "tools", "schema", "ids", "unknown", "too long")


def settled(body: bytes) -> bytes:
    """The body without ids and times."""
    body = re.sub(rb'"id": ?"chatcmpl-[^"]*"', b'"id":""', body)
    body = re.sub(rb'"id": ?"chatcmpl-tool-[^"]*"', b'"id":""', body)
    return re.sub(rb'"created": ?\d+', b'"created":0', body)


def both(stack: Stack, method: str, path: str, **options: Any) -> tuple[httpx.Response, httpx.Response]:
    with httpx.Client(timeout=60, trust_env=False) as client:
        return (
            client.request(method, stack.engine.url + path, **options),
            client.request(method, stack.url + path, **options),
        )


def by_choice(body: bytes) -> list[bytes]:
    """A stream's events, those of each choice together and in order: how choices take turns is the engine's chance."""
    indices = re.compile(rb'"choices":\[\{"index":(\d+)')
    events = body.split(b"\n\n")
    numbered = [(int(found[1]) if (found := indices.search(event)) else -1, event) for event in events]
    return [event for _, event in sorted(numbered, key=lambda pair: pair[0])]


def assert_same(direct: httpx.Response, proxied: httpx.Response) -> None:
    assert proxied.status_code == direct.status_code
    assert by_choice(settled(proxied.content)) == by_choice(settled(direct.content))
    ours = {"unhitch-applied", "server-timing"}
    varying = {"date", "content-length"}
    assert {k: v for k, v in proxied.headers.items() if k not in ours | varying} == {
        k: v
        for k, v in direct.headers.items()
        if k not in varying | {"unhitch-connector"}  # meant for the proxy
    }


@pytest.mark.parametrize("name", BODIES)
def test_plain_answers_are_the_same(stack: Stack, name: str) -> None:
    assert_same(*both(stack, "POST", CHAT, json=HELLO | BODIES[name]))


@pytest.mark.parametrize("name", STREAMED)
def test_streamed_answers_are_the_same(stack: Stack, name: str) -> None:
    streamed = {"stream": True, "stream_options": {"include_usage": True}}
    direct, proxied = both(stack, "POST", CHAT, json=HELLO | BODIES[name] | streamed)
    assert_same(direct, proxied)
    if direct.status_code == 200:
        assert direct.text.count("data: ") > 2


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
