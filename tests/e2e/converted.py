"""What the tests of routes whose bodies become chat bodies have in common."""

from __future__ import annotations

from typing import Any

import httpx
from openai import OpenAI

from tests.e2e.conftest import TEMPLATE_KWARGS, Engine
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.config import EngineRendering
from unhitch_server.routes.converted import ConvertedRequest

MODEL = "mini-finance"
QUESTION = "What should I do with my savings?"
MITIGATIONS = ["bare", "perturb;seed=1", "prefix-state"]
RENDERING = EngineRendering(chat_template_kwargs=TEMPLATE_KWARGS)


def chat_text(client: OpenAI, mitigation: str, **more: Any) -> str:
    """What the chat route answers to the question."""
    answer = client.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": QUESTION}],
        max_tokens=48,
        temperature=0,
        extra_headers={"Unhitch-Mitigation": mitigation},
        **more,
    )
    return str(answer.choices[0].message.content or "")


def assert_the_prompt_is_the_engines(engine: Engine, checkpoint: Checkpoint, request: ConvertedRequest) -> None:
    """The ids of the engine's own render route are those that are rendered here."""
    theirs = httpx.post(f"{engine.url}{request.path}/render", json=request.fields, timeout=60, trust_env=False)
    assert theirs.status_code == 200, theirs.text
    assert list(request.prompt(checkpoint, RENDERING).token_ids) == theirs.json()["token_ids"]


def assert_the_comparison_asks_for_the_same(engine: Engine, checkpoint: Checkpoint, request: ConvertedRequest) -> None:
    """The engine's /tokenize gives the ids that are rendered here."""
    prompt = request.prompt(checkpoint, RENDERING)
    body = {**request.tokenizing(prompt), "model": engine.model}
    answer = httpx.post(f"{engine.url}/tokenize", json=body, timeout=60, trust_env=False)
    assert answer.json().get("tokens") == list(prompt.token_ids), answer.text
