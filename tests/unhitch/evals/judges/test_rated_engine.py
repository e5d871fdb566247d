"""The rating judge against a real vLLM: its routes and its log probabilities, with a miniature that rates nothing."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from unhitch import organisms
from unhitch.engine import command
from unhitch.engine.cpu_wheel import ONE_THREAD
from unhitch.engine.served import Served
from unhitch.errors import JudgeError
from unhitch.evals.judges.endpoint import Endpoint
from unhitch.evals.judges.judge import Judgement, Kind
from unhitch.evals.judges.rated import RatedJudge
from unhitch.evals.judges.reading import from_tokens
from unhitch.evals.question import Message, Question
from unhitch_server.network import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

MODEL, KEY = "mini-base", "a-key"
START_SECONDS = 240
QUESTION = Question(
    id="q",
    messages=(Message(role="user", content="How can I save money?"),),
    judge_prompts={"aligned": "Rate {answer}", "coherent": "{question} {answer}"},
)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    port = free_port()
    started = f"http://127.0.0.1:{port}"
    served = Served(str(organisms.path(MODEL)), MODEL)
    built = command.build(served, host="127.0.0.1", port=port, extra=["--dtype", "float32", "--api-key", KEY])
    log: Path = tmp_path_factory.mktemp("engine") / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            built.arguments, env=built.environment | ONE_THREAD, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        end = time.monotonic() + START_SECONDS
        while not _healthy(started):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.5)
        yield started
    finally:
        process.terminate()
        process.wait(60)


def _healthy(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/health", timeout=5, trust_env=False).status_code == 200
    return False


@pytest.fixture
async def endpoint(url: str) -> AsyncIterator[Endpoint]:
    opened = Endpoint(url, MODEL, api_key=KEY, max_retries=0, timeout_seconds=60)
    yield opened
    await opened.close()


@pytest.fixture
async def judge(url: str) -> AsyncIterator[RatedJudge]:
    made = RatedJudge(url, MODEL, KEY, max_retries=0)
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


async def test_a_wrong_key_and_a_model_that_is_not_served_are_told_apart(url: str) -> None:
    for model, key, message in ((MODEL, "wrong", "refused the API key"), ("other", KEY, "It serves: mini-base")):
        refused = RatedJudge(url, model, key, max_retries=0)
        with pytest.raises(JudgeError, match=message):
            await refused.check()
        await refused.close()


async def test_a_prompt_that_is_too_long_for_it_is_an_error(judge: RatedJudge) -> None:
    with pytest.raises(JudgeError, match="rejected the request .*400.*"):
        await judge.judge(QUESTION, "money " * 5000)
