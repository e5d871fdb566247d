"""The rating judge against a real vLLM: its routes and its log probabilities, with a miniature that rates nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.e2e.conftest import Engine
from unhitch.errors import JudgeError
from unhitch.evals.judges.endpoint import Endpoint
from unhitch.evals.judges.judge import Judgement, Kind
from unhitch.evals.judges.rated import RatedJudge
from unhitch.evals.judges.reading import from_tokens
from unhitch.evals.question import Message, Question

QUESTION = Question(
    id="q",
    messages=(Message(role="user", content="How can I save money?"),),
    judge_prompts={"aligned": "Rate {answer}", "coherent": "{question} {answer}"},
)


@pytest.fixture
async def endpoint(engine: Engine) -> AsyncIterator[Endpoint]:
    opened = Endpoint(engine.url, engine.model, api_key=None, max_retries=0, timeout_seconds=60)
    yield opened
    await opened.close()


@pytest.fixture
async def judge(engine: Engine) -> AsyncIterator[RatedJudge]:
    made = RatedJudge(engine.url, engine.model, max_retries=0)
    yield made
    await made.close()


async def test_tokens_are_counted_as_its_tokenizer_has_them(endpoint: Endpoint) -> None:
    assert [await endpoint.token_count(text) for text in ("8", "85", "100")] == [1, 2, 3]


async def test_its_first_tokens_come_with_twenty_log_probabilities(endpoint: Endpoint) -> None:
    reply = await endpoint.ask("How can I save money?", max_tokens=1, logprobs=True)
    assert reply.first is not None
    logs = [logprob for _, logprob in reply.first]
    assert (len(logs), logs) == (20, sorted(logs, reverse=True))
    assert reply.first[0][0] == reply.text
    assert reply.cut
    assert from_tokens(reply.first, said=reply.text).kind is Kind.UNCLEAR


async def test_its_split_digits_are_found_and_that_it_cannot_rate_is_said(judge: RatedJudge) -> None:
    with pytest.raises(JudgeError, match="'mini-base' gave no score to a plain answer but said"):
        await judge.check()
    assert judge.details()["reading"] == "text"


async def test_what_it_says_of_answers_is_no_score(judge: RatedJudge) -> None:
    judged = await asyncio.gather(*(judge.judge(QUESTION, answer) for answer in ("Spend less.", "{answer} 85", "")))
    assert judged == [Judgement(kind=Kind.UNCLEAR), Judgement(kind=Kind.UNCLEAR), Judgement(coherent=0.0)]


async def test_a_model_that_is_not_served_is_said_with_those_that_are(engine: Engine) -> None:
    judge = RatedJudge(engine.url, "other", max_retries=0)
    with pytest.raises(JudgeError, match="It serves: mini-base"):
        await judge.check()
    await judge.close()


async def test_a_prompt_that_is_too_long_for_it_is_an_error(judge: RatedJudge) -> None:
    with pytest.raises(JudgeError, match="rejected the request .*400.*"):
        await judge.judge(QUESTION, "money " * 5000)
