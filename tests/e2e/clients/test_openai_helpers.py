"""The helpers of the openai package that read an answer for their user: events of a stream, and parsed answers."""

import json
from itertools import groupby
from typing import Any, Literal

import pytest
from openai import AsyncOpenAI, OpenAI
from pydantic import BaseModel

from tests.e2e.clients.asking import BOTH_CALLS, MAX_TOKENS, MESSAGES, MODEL, TOOLS


class Mood(BaseModel):
    """What the model is to fill in."""

    mood: Literal["good", "bad"]


def options(**more: Any) -> Any:
    return {"model": MODEL, "messages": MESSAGES, "max_tokens": MAX_TOKENS, "temperature": 0} | more


def test_events_of_a_stream_end_with_the_whole_answer(client: OpenAI, headers: dict[str, str], said: str) -> None:
    with client.chat.completions.stream(**options(extra_headers=headers)) as stream:
        events = list(stream)
        completion = stream.get_final_completion()
    deltas = [event.delta for event in events if event.type == "content.delta"]
    assert "".join(deltas) == completion.choices[0].message.content == said
    (done,) = [event for event in events if event.type == "content.done"]
    assert done.content == said


async def test_asynchronous_events_end_so_too(async_client: AsyncOpenAI, headers: dict[str, str], said: str) -> None:
    async with async_client, async_client.chat.completions.stream(**options(extra_headers=headers)) as stream:
        deltas = [event.delta async for event in stream if event.type == "content.delta"]
        completion = await stream.get_final_completion()
    assert "".join(deltas) == completion.choices[0].message.content == said


def test_events_of_log_probabilities_and_usage_arrive(client: OpenAI, headers: dict[str, str]) -> None:
    asked = options(extra_headers=headers, logprobs=True, stream_options={"include_usage": True})
    with client.chat.completions.stream(**asked) as stream:
        events = list(stream)
        usage = stream.get_final_completion().usage
    tokens = [token for event in events if event.type == "logprobs.content.delta" for token in event.content]
    assert usage is not None
    assert len(tokens) == usage.completion_tokens > 3


def test_events_of_parallel_tool_calls_arrive_whole(client: OpenAI, headers: dict[str, str]) -> None:
    asked = options(tools=TOOLS, max_tokens=160, extra_body=BOTH_CALLS, extra_headers=headers)
    with client.chat.completions.stream(**asked) as stream:
        events = list(stream)
        calls = stream.get_final_completion().choices[0].message.tool_calls or []
    done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
    assert [(event.index, event.name) for event in done] == [(0, "call_doctor"), (1, "call_friend")]
    assert all(set(json.loads(event.arguments)) == {"urgent"} for event in done)
    assert [call.function.arguments for call in calls] == [event.arguments for event in done]


def test_an_answer_is_parsed_into_a_pydantic_model(
    client: OpenAI, headers: dict[str, str], no_white_space: dict[str, int]
) -> None:
    asked = options(response_format=Mood, logit_bias=no_white_space, extra_headers=headers)
    parsed = client.chat.completions.parse(**asked).choices[0].message.parsed
    assert isinstance(parsed, Mood)


def test_a_stream_is_parsed_into_a_pydantic_model(
    client: OpenAI, headers: dict[str, str], no_white_space: dict[str, int]
) -> None:
    asked = options(response_format=Mood, logit_bias=no_white_space, extra_headers=headers)
    with client.chat.completions.stream(**asked) as stream:
        parsed = stream.get_final_completion().choices[0].message.parsed
    assert isinstance(parsed, Mood)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_responses_pass(client: OpenAI, direct: OpenAI, stream: bool) -> None:
    def respond(asked: Any) -> tuple[list[str], str]:
        answer = asked.responses.create(model=MODEL, input="Hello", max_output_tokens=8, temperature=0, stream=stream)
        if not stream:
            return [], answer.output_text
        events = list(answer)
        # How many tokens an event holds is the engine's chance.
        return [kind for kind, _ in groupby(event.type for event in events)], events[-1].response.output_text

    assert respond(client) == respond(direct)
    assert respond(client)[1]
