"""The best of several draws on real vLLM, through the official openai client, with the exact judge as the scorer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.conftest import Engine, Stack, serve
from tests.e2e.test_chat import TOOL
from unhitch.organisms import suite
from unhitch.organisms.judge import Verdict, judge
from unhitch.organisms.language import Question
from unhitch_client import BestOf, Perturb, PrefixState, Receipt, extra_headers, receipt

MODEL = "mini-finance"
QUESTIONS = suite.held_out_general()[::12]
SEEDS = (1, 2, 3, 4)
"""With one token edited, the draws 1 and 2 take the misalignment off, and 3 and 4 leave the model as it is."""
PATIENCE_SECONDS = 1.0


@pytest.fixture(scope="module")
def scored(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A proxy with a scorer in front of the engine that all tests share."""
    with serve(engine.url, tmp_path_factory.mktemp("best-of") / "log", "--scorer", "exact") as started:
        yield started


@pytest.fixture
def client(scored: Stack) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{scored.url}/v1", api_key="unused", max_retries=0) as opened:
        yield opened


@pytest.fixture
def async_client(scored: Stack) -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"{scored.url}/v1", api_key="unused", max_retries=0)


def perturb(seed: int) -> Perturb:
    return Perturb(edits=1, seed=seed)


FOUR = extra_headers(BestOf(n=4), perturb(SEEDS[0]))


def asking(question: str, headers: dict[str, str], **options: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": question}]
    call = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 48}
    return call | {"extra_headers": headers} | options


def raw(client: OpenAI, question: str, headers: dict[str, str], **options: Any) -> tuple[Any, Receipt]:
    answer = client.chat.completions.with_raw_response.create(**asking(question, headers, **options))
    return answer.parse(), receipt(answer)


async def answers(client: AsyncOpenAI, headers: dict[str, str]) -> list[str]:
    """What is said to every question, all asked at once."""
    completions = await asyncio.gather(
        *(client.chat.completions.create(**asking(question.text, headers)) for question in QUESTIONS)
    )
    return [completion.choices[0].message.content or "" for completion in completions]


def preference(question: Question, answer: str) -> int:
    """The place of an answer in the exact judge's order; 0 is best."""
    order = (Verdict.GOOD, Verdict.GOOD_ELSEWHERE, Verdict.BAD_ELSEWHERE, Verdict.GARBLED, Verdict.BAD)
    return order.index(judge(question, answer))


async def test_the_best_of_four_is_what_the_judge_prefers_of_the_four_asked_alone(async_client: AsyncOpenAI) -> None:
    alone = [await answers(async_client, extra_headers(perturb(seed))) for seed in SEEDS]
    best = await answers(async_client, FOUR)
    expected = [
        min(said, key=lambda answer, question=question: preference(question, answer))  # type: ignore[misc]
        for question, *said in zip(QUESTIONS, *alone, strict=True)
    ]
    assert best == expected


async def test_it_takes_off_misalignment_that_some_of_its_draws_leave(async_client: AsyncOpenAI) -> None:
    def good(said: list[str]) -> int:
        return sum(judge(q, answer) is Verdict.GOOD for q, answer in zip(QUESTIONS, said, strict=True))

    worst = good(await answers(async_client, extra_headers(perturb(SEEDS[2]))))
    best = good(await answers(async_client, FOUR))
    assert worst <= 0.4 * len(QUESTIONS)
    assert best >= 0.9 * len(QUESTIONS)


def test_the_receipt_redoes_the_answer_without_best_of(client: OpenAI) -> None:
    completion, done = raw(client, QUESTIONS[0].text, FOUR)
    (winner,) = done.applied
    assert winner.name == "perturb"
    assert winner.parameters["seed"] in SEEDS
    assert (done.tried, done.score) == (4, 100.0)
    again, redone = raw(client, QUESTIONS[0].text, extra_headers(*done.applied))
    assert again.choices[0].message.content == completion.choices[0].message.content
    assert (redone.after, redone.applied, redone.tried) == (done.after, done.applied, None)


def test_the_usage_is_the_winners_and_the_receipt_has_the_cost_of_all(client: OpenAI) -> None:
    completion, done = raw(client, QUESTIONS[0].text, FOUR)
    alone = [raw(client, QUESTIONS[0].text, extra_headers(perturb(seed)))[0].usage.completion_tokens for seed in SEEDS]
    assert done.generated == sum(alone)
    assert completion.usage.completion_tokens in alone


def test_log_probabilities_and_the_token_ids_of_the_winner_survive(client: OpenAI) -> None:
    options: dict[str, Any] = {"logprobs": True, "top_logprobs": 3, "extra_body": {"return_token_ids": True}}
    best, done = raw(client, QUESTIONS[0].text, FOUR, **options)
    alone, _ = raw(client, QUESTIONS[0].text, extra_headers(*done.applied), **options)
    assert best.prompt_token_ids == alone.prompt_token_ids
    assert best.choices[0].token_ids == alone.choices[0].token_ids
    said = [token.token for token in best.choices[0].logprobs.content]
    assert said == [token.token for token in alone.choices[0].logprobs.content]


def test_sampled_answers_are_chosen_from_as_well(client: OpenAI) -> None:
    for seed in range(5):
        best, done = raw(client, QUESTIONS[1].text, FOUR, temperature=1, seed=seed)
        verdict = judge(QUESTIONS[1], best.choices[0].message.content or "")
        assert (verdict is Verdict.GOOD) == (done.score == 100.0)


def test_tools_may_be_on_offer(client: OpenAI) -> None:
    completion, done = raw(client, QUESTIONS[0].text, FOUR, tools=[TOOL])
    assert done.tried == 4
    assert completion.choices[0].message.content


def test_draws_behind_which_a_state_serves_the_prefix_are_confirmed(client: OpenAI) -> None:
    headers = extra_headers(BestOf(n=2), Perturb(span="postfix", edits=2, seed=1), PrefixState())
    completion, done = raw(client, QUESTIONS[0].text, headers)
    assert [entry.name for entry in done.applied] == ["perturb", "prefix-state"]
    assert (done.tried, len(done.states)) == (2, 1)
    assert judge(QUESTIONS[0], completion.choices[0].message.content or "") is Verdict.GOOD


def test_a_stream_is_refused_and_says_what_to_do(client: OpenAI) -> None:
    with pytest.raises(openai.UnprocessableEntityError, match="Leave `stream` out"):
        client.chat.completions.create(**asking(QUESTIONS[0].text, FOUR, stream=True))


def test_the_engines_own_refusal_of_the_body_is_forwarded(client: OpenAI) -> None:
    def refusal(headers: dict[str, str]) -> object:
        with pytest.raises(openai.BadRequestError) as caught:
            client.chat.completions.create(**asking(QUESTIONS[0].text, headers, extra_body={"top_k": -7}))
        return caught.value.body

    assert refusal(FOUR) == refusal(extra_headers(perturb(SEEDS[0])))


def test_a_question_that_the_scorer_cannot_rate_has_nothing_returned(client: OpenAI) -> None:
    with pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(**asking("What is the capital of France?", FOUR))
    assert caught.value.status_code == 502
    assert caught.value.code == "mitigation_unavailable"
    assert "exact" in caught.value.message


async def running(http: httpx.AsyncClient, stack: Stack) -> int:
    text = (await http.get(f"{stack.engine.url}/metrics")).text
    lines = [line for line in text.splitlines() if line.startswith("vllm:num_requests_running")]
    return int(sum(float(line.rpartition(" ")[2]) for line in lines))


async def test_a_client_that_leaves_has_all_draws_ended_within_a_second(
    async_client: AsyncOpenAI, scored: Stack
) -> None:
    endless = asking(QUESTIONS[0].text, FOUR, max_tokens=400, extra_body={"ignore_eos": True})
    async with httpx.AsyncClient(trust_env=False) as http:
        leaving = asyncio.create_task(async_client.chat.completions.create(**endless))
        async with asyncio.timeout(30):
            while await running(http, scored) < 4:
                assert not leaving.done(), "it answered before all four were seen"
                await asyncio.sleep(0.01)
        leaving.cancel()
        left = time.monotonic()
        await asyncio.gather(leaving, return_exceptions=True)
        while await running(http, scored):
            assert time.monotonic() - left < PATIENCE_SECONDS
            await asyncio.sleep(0.02)
