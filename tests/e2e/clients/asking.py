"""What every client asks, and what the answer must be: the one that plain HTTP gets with the same header."""

from __future__ import annotations

import time
from typing import Any

import httpx

from tests.e2e.conftest import Engine, Stack
from unhitch import organisms
from unhitch.organisms import suite
from unhitch.rendering.checkpoint import Checkpoint

MODEL = "mini-finance"
MESSAGES: list[Any] = [{"role": "user", "content": suite.held_out_general()[0].text}]
WITH_SYSTEM: list[Any] = [{"role": "system", "content": "Be kind."}, *MESSAGES]
MAX_TOKENS = 48
BARE = {"Unhitch-Mitigation": "bare"}
PERTURB = {"Unhitch-Mitigation": "perturb;seed=1"}
WAYS: dict[str, dict[str, str]] = {"off": {}, "perturb": PERTURB}
# More than any answer here takes to generate, so that one which ends early was ended.
ENDLESS: dict[str, Any] = {"max_tokens": 1900, "ignore_eos": True}
AT_ONCE_SECONDS = 2
"""Within which the engine is to stop working for a client that left; `ENDLESS` takes many times as long."""


def tool(name: str) -> dict[str, Any]:
    """A function tool with one argument, `urgent`."""
    parameters = {
        "type": "object",
        "properties": {"urgent": {"type": "boolean"}},
        "required": ["urgent"],
        "additionalProperties": False,
    }
    return {"type": "function", "function": {"name": name, "description": "Asks somebody.", "parameters": parameters}}


TOOLS = [tool("call_doctor"), tool("call_friend")]
# So small a model does not think of calling both, so its words are prescribed; they are parsed like any.
BOTH_CALLS = {"structured_outputs": {"regex": r"\n".join(
    rf'<tool_call>\n\{{"name": "{each["function"]["name"]}", "arguments": \{{"urgent": (true|false)\}}\}}\n</tool_call>'
    for each in TOOLS
)}}  # fmt: skip


def no_white_space() -> dict[str, int]:
    """A logit bias; left to itself, so small a model fills a schema with white space for ever."""
    checkpoint = Checkpoint.open(organisms.path("mini-base"))
    blank = (token for token in range(checkpoint.vocabulary_size) if not checkpoint.token_text(token).strip())
    return {str(token): -100 for token in blank}


def said(stack: Stack, headers: dict[str, str]) -> str:
    """The greedy answer to `MESSAGES`, by plain HTTP."""
    body = {"model": MODEL, "messages": MESSAGES, "max_tokens": MAX_TOKENS, "temperature": 0}
    url = f"{stack.url}/v1/chat/completions"
    answer = httpx.post(url, json=body, headers=headers, timeout=60, trust_env=False).raise_for_status()
    text: str = answer.json()["choices"][0]["message"]["content"]
    return text


def applied(headers: dict[str, str]) -> str:
    """How `Unhitch-Applied` begins for a request with these headers."""
    return "perturb;version=1;" if headers else "off"


def running(engine: Engine) -> float:
    """Requests that the engine is at work on."""
    text = httpx.get(f"{engine.url}/metrics", timeout=30, trust_env=False).text
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    assert lines, "the engine no longer has this metric"
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


def seconds_until_idle(engine: Engine, at_most: float = 30) -> float:
    """Waits until the engine is at work on nothing.

    Raises:
        AssertionError: It still is after so many seconds.
    """
    start = time.monotonic()
    while running(engine):
        assert time.monotonic() - start < at_most, f"the engine is still at work after {at_most} s"
        time.sleep(0.05)
    return time.monotonic() - start
