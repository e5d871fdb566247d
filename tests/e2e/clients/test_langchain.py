"""langchain-openai as a client: `ChatOpenAI` with the proxy's URL and default headers."""

from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field

from tests.e2e.clients.asking import BOTH_CALLS, MAX_TOKENS, MESSAGES, MODEL, TOOLS, applied
from tests.e2e.conftest import Stack

QUESTION = MESSAGES[0]["content"]


class Mood(BaseModel):
    """How somebody feels."""

    mood: Literal["good", "bad"] = Field(description="The mood.")


@pytest.fixture
def chat(langchain_openai: Any, stack: Stack, headers: dict[str, str]) -> Any:
    return langchain_openai.ChatOpenAI(
        model=MODEL,
        base_url=f"{stack.url}/v1",
        api_key="unused",
        default_headers=headers,
        max_tokens=MAX_TOKENS,
        temperature=0,
        max_retries=0,
        include_response_headers=True,
    )


def test_invoke_gives_the_answer_that_plain_http_gets(chat: Any, headers: dict[str, str], said: str) -> None:
    answer = chat.invoke(QUESTION)
    assert answer.content == said
    assert answer.response_metadata["headers"]["unhitch-applied"].startswith(applied(headers))
    assert answer.usage_metadata["output_tokens"] > 0


def test_a_stream_says_the_same(chat: Any, said: str) -> None:
    assert "".join(chunk.content for chunk in chat.stream(QUESTION)) == said


# langchain keeps its connections for all models of a URL, and they belong to the loop that opened them.
@pytest.mark.asyncio(loop_scope="module")
async def test_asynchronous_answers_say_the_same(chat: Any, said: str) -> None:
    assert (await chat.ainvoke(QUESTION)).content == said
    assert "".join([chunk.content async for chunk in chat.astream(QUESTION)]) == said


def test_bound_tools_are_called_in_parallel(chat: Any) -> None:
    bound = chat.bind_tools(TOOLS, parallel_tool_calls=True).bind(extra_body=BOTH_CALLS, max_tokens=160)
    calls = bound.invoke(QUESTION).tool_calls
    assert [call["name"] for call in calls] == ["call_doctor", "call_friend"]
    assert all(set(call["args"]) == {"urgent"} for call in calls)


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output_is_an_object_of_the_model(chat: Any, method: str, no_white_space: dict[str, int]) -> None:
    chat.logit_bias, chat.max_tokens = {int(token): bias for token, bias in no_white_space.items()}, 128
    # The engine holds the arguments of a tool to their schema only where it is strict.
    structured = chat.with_structured_output(Mood, method=method, strict=True)
    assert isinstance(structured.invoke(QUESTION), Mood)
