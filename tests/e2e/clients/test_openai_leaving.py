"""A user of the openai package who no longer waits for an answer: the engine stops working on it."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.clients.asking import AT_ONCE_SECONDS, ENDLESS, MESSAGES, MODEL, running, seconds_until_idle
from tests.e2e.conftest import Engine


def endless(headers: dict[str, str]) -> dict[str, Any]:
    return {"model": MODEL, "messages": MESSAGES, "extra_body": ENDLESS, "extra_headers": headers}


@pytest.fixture(autouse=True)
def _idle(engine: Engine) -> None:
    seconds_until_idle(engine)


def test_closing_a_stream_early_ends_it_on_the_engine(client: OpenAI, engine: Engine, headers: dict[str, str]) -> None:
    stream = client.chat.completions.create(stream=True, **endless(headers))
    for _ in range(5):
        next(stream)
    assert running(engine) == 1
    stream.close()
    assert seconds_until_idle(engine) < AT_ONCE_SECONDS


def test_leaving_the_block_of_a_stream_helper_ends_it_on_the_engine(
    client: OpenAI, engine: Engine, headers: dict[str, str]
) -> None:
    with client.chat.completions.stream(**endless(headers)) as stream:
        for _ in range(5):
            next(stream)
        assert running(engine) == 1
    assert seconds_until_idle(engine) < AT_ONCE_SECONDS


async def test_breaking_out_of_an_asynchronous_stream_ends_it_on_the_engine(
    async_client: AsyncOpenAI, engine: Engine, headers: dict[str, str]
) -> None:
    async with async_client, await async_client.chat.completions.create(stream=True, **endless(headers)) as stream:
        async for _ in stream:
            break
    assert seconds_until_idle(engine) < AT_ONCE_SECONDS


def test_a_plain_answer_that_times_out_ends_on_the_engine(
    client: OpenAI, engine: Engine, headers: dict[str, str]
) -> None:
    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=1).chat.completions.create(**endless(headers))
    assert seconds_until_idle(engine) < AT_ONCE_SECONDS
