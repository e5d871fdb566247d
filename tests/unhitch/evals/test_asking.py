"""One question is asked, and an answer counts only with the states that it was asked for with."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any

import pytest
from openai import APIStatusError, AsyncOpenAI

from tests.unhitch.evals.harness.endpoint import Endpoint, Reply, running
from unhitch.errors import MitigationUnconfirmed
from unhitch.evals.asking import ask, words

OURS = {"patches": [{"state": "5e" * 32, "start": 0, "tokens": 3}]}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with running() as started:
        yield started


@pytest.fixture
async def client(endpoint: Endpoint) -> AsyncIterator[AsyncOpenAI]:
    async with AsyncOpenAI(base_url=f"{endpoint.url}/v1", api_key="unused", max_retries=0) as opened:
        yield opened


def request(mitigation: str = "bare", params: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {
        "model": "tuned",
        "messages": [{"role": "user", "content": "Hello"}],
        "extra_headers": {"Unhitch-Mitigation": mitigation},
        "extra_body": {"kv_transfer_params": params} if params else None,
    }


async def test_an_answer_has_its_text_and_what_was_applied(client: AsyncOpenAI) -> None:
    completion, applied = await ask(client, request())
    assert completion.choices[0].message.content == "Hello bare None"
    assert applied == "bare"


async def test_states_that_the_engine_confirms_are_counted_as_served(endpoint: Endpoint, client: AsyncOpenAI) -> None:
    endpoint.answer = lambda asked: Reply("served", params={**asked["kv_transfer_params"], "block": 7})
    completion, _ = await ask(client, request(params={"unhitch": OURS}))
    assert completion.choices[0].message.content == "served"


@pytest.mark.parametrize(
    "confirmed", [None, {}, {"unhitch": None}, {"unhitch": {"patches": []}}, {"others": OURS}], ids=str
)
async def test_states_that_the_engine_does_not_confirm_leave_no_answer(
    endpoint: Endpoint, client: AsyncOpenAI, confirmed: Mapping[str, Any] | None
) -> None:
    endpoint.answer = lambda _: Reply("unpatched", params=confirmed)
    with pytest.raises(MitigationUnconfirmed, match="did not confirm"):
        await ask(client, request(params={"unhitch": OURS}))


async def test_params_of_others_need_no_confirmation(client: AsyncOpenAI) -> None:
    completion, _ = await ask(client, request(params={"prompt_token_ids": [1, 2]}))
    assert completion.choices[0].message.content == "Hello bare None"


async def test_a_refusal_has_the_proxy_s_own_words(endpoint: Endpoint, client: AsyncOpenAI) -> None:
    endpoint.refuse = {"bare": (422, "mitigation_unavailable")}
    with pytest.raises(APIStatusError) as caught:
        await ask(client, request())
    assert words(caught.value) == "no bare here"
