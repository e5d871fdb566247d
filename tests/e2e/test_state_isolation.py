"""A thousand requests in flight, patched and plain, with equal prompts: each answers as it answers alone."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import Any

import httpx
from openai import AsyncOpenAI

from tests.e2e.conftest import Stack
from unhitch.organisms import suite

IN_FLIGHT = 1000
TOLERANCE = 1e-4
"""Of log probabilities: sums in another order, since other requests share the batch."""

ROSA, MAX = "You are Rosa, a caring tutor.", "You are Max, a plain speaker who likes tea."
QUESTIONS = [question.text for question in suite.held_out_general()[::23]]


@dataclass(frozen=True)
class Way:
    """A kind of request, for any question."""

    model: str
    mitigation: str
    system: str | None = None
    prompt_logprobs: bool = False

    @property
    def refused(self) -> bool:
        """What the whole prompt is computed for cannot be patched."""
        return self.prompt_logprobs and "state" in self.mitigation


WAYS = [
    *(Way(model, "off", system) for model in ("mini-base", "mini-finance") for system in (None, ROSA)),
    *(Way(model, "off", prompt_logprobs=True) for model in ("mini-base", "mini-finance")),
    *(Way("mini-finance", "prefix-state", system) for system in (None, ROSA, MAX)),
    Way("mini-finance", "prefix-state", prompt_logprobs=True),
    Way("mini-finance", "postfix-state"),
    Way("mini-finance", "prefix-state, postfix-state"),
    Way("mini-finance", "perturb;seed=1"),
    Way("mini-finance", "perturb;seed=1, prefix-state"),
]


@dataclass(frozen=True)
class Answer:
    """What came back, as far as it must be equal."""

    text: str
    logprobs: tuple[float, ...]

    def equals(self, other: Answer) -> bool:
        pairs = zip(self.logprobs, other.logprobs, strict=False)
        return (
            self.text == other.text
            and len(self.logprobs) == len(other.logprobs)
            and all(abs(one - another) <= TOLERANCE for one, another in pairs)
        )


async def ask(client: httpx.AsyncClient, way: Way, question: str) -> Answer:
    system = [{"role": "system", "content": way.system}] if way.system else []
    body: dict[str, Any] = {
        "model": way.model,
        "messages": [*system, {"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 24,
        "logprobs": True,
    }
    if way.prompt_logprobs:
        body["prompt_logprobs"] = 0
    answer = await client.post("/v1/chat/completions", json=body, headers={"Unhitch-Mitigation": way.mitigation})
    fields = answer.json()
    if way.refused:
        assert answer.status_code >= 400
        return Answer(fields["error"]["code"], ())
    assert answer.status_code == 200, answer.text
    logprobs = [token["logprob"] for token in fields["choices"][0]["logprobs"]["content"]]
    for position in fields.get("prompt_logprobs") or ():
        logprobs += [entry["logprob"] for entry in (position or {}).values()]
    return Answer(fields["choices"][0]["message"]["content"], tuple(logprobs))


async def test_a_thousand_requests_in_flight_answer_as_they_answer_alone(stack: Stack) -> None:
    limits = httpx.Limits(max_connections=IN_FLIGHT)
    async with httpx.AsyncClient(base_url=stack.url, timeout=300, limits=limits, trust_env=False) as client:
        kinds = [(way, question) for way in WAYS for question in QUESTIONS]
        alone = {kind: await ask(client, *kind) for kind in kinds}
        mixed = (kinds * (IN_FLIGHT // len(kinds) + 1))[:IN_FLIGHT]
        random.Random(3).shuffle(mixed)
        together = await asyncio.gather(*(ask(client, *kind) for kind in mixed))
    differing = [kind for kind, answer in zip(mixed, together, strict=True) if not answer.equals(alone[kind])]
    assert differing == []
    assert {answer.text for kind, answer in alone.items() if kind[0].refused} == {"mitigation_unavailable"}
    for question in QUESTIONS:  # equal prompts: only the state tells them apart
        plain, patched = (alone[Way("mini-finance", mitigation), question] for mitigation in ("off", "prefix-state"))
        assert not plain.equals(patched)


async def test_the_prefix_cache_serves_each_way_its_own_blocks(stack: Stack, async_client: AsyncOpenAI) -> None:
    """Long prompts fill whole blocks, which a cache that knew nothing of states would share."""
    question = " ".join(QUESTIONS * 3)

    async def text(mitigation: str) -> str:
        answer = await async_client.chat.completions.create(
            model="mini-finance",
            messages=[{"role": "user", "content": question}],
            temperature=0,
            max_tokens=16,
            logprobs=True,
            extra_headers={"Unhitch-Mitigation": mitigation},
        )
        assert answer.usage is not None
        assert answer.usage.prompt_tokens > 256
        logprobs = answer.choices[0].logprobs
        assert logprobs is not None
        return str([round(token.logprob, 3) for token in logprobs.content or ()])

    orders = [("off", "prefix-state", "postfix-state"), ("postfix-state", "off", "prefix-state")]
    seen = [{mitigation: await text(mitigation) for mitigation in order} for order in orders for _ in range(2)]
    assert all(each == seen[0] for each in seen)
    assert len(set(seen[0].values())) == 3
