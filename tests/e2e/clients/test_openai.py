"""The official openai package for Python: what a program of its user does, with and without a mitigation."""

from typing import Any

import openai
import pytest
from openai import AsyncOpenAI, OpenAI

from tests.e2e.clients.asking import BARE, BOTH_CALLS, MAX_TOKENS, MESSAGES, MODEL, TOOLS, WITH_SYSTEM, applied


def create(client: Any, **options: Any) -> Any:
    """A greedy chat completion, of either client; types cannot follow `stream` through a parameter."""
    return client.chat.completions.create(
        **{"model": MODEL, "messages": MESSAGES, "max_tokens": MAX_TOKENS, "temperature": 0} | options
    )


def test_a_plain_answer_is_the_one_that_plain_http_gets(client: OpenAI, headers: dict[str, str], said: str) -> None:
    assert create(client, extra_headers=headers).choices[0].message.content == said


async def test_the_asynchronous_client_gets_the_same(
    async_client: AsyncOpenAI, headers: dict[str, str], said: str
) -> None:
    async with async_client:
        assert (await create(async_client, extra_headers=headers)).choices[0].message.content == said
        stream = await create(async_client, extra_headers=headers, stream=True)
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == said


def test_the_raw_answer_shows_what_was_applied(client: OpenAI, headers: dict[str, str], said: str) -> None:
    raw: Any = client.chat.completions.with_raw_response.create(
        model=MODEL, messages=MESSAGES, max_tokens=MAX_TOKENS, temperature=0, extra_headers=headers
    )
    assert raw.headers["Unhitch-Applied"].startswith(applied(headers))
    assert ("Unhitch-Receipt" in raw.headers) == bool(headers)
    assert raw.parse().choices[0].message.content == said


def test_default_headers_mitigate_every_request_of_a_client(client: OpenAI, headers: dict[str, str], said: str) -> None:
    assert create(client.with_options(default_headers=headers)).choices[0].message.content == said


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_two_choices_come_with_their_log_probabilities(client: OpenAI, headers: dict[str, str], stream: bool) -> None:
    options = {"n": 2, "logprobs": True, "top_logprobs": 2, "temperature": 1, "seed": 1, "max_tokens": 6}
    answer = create(client, stream=stream, extra_headers=headers, extra_body={"ignore_eos": True}, **options)
    choices = [choice for chunk in answer for choice in chunk.choices] if stream else answer.choices
    for index in range(2):
        parts = [choice.logprobs.content for choice in choices if choice.index == index and choice.logprobs]
        tokens = [token for part in parts for token in part or []]
        assert len(tokens) == 6
        assert all(len(token.top_logprobs) == 2 for token in tokens)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_parallel_tool_calls_come_apart(client: OpenAI, headers: dict[str, str], stream: bool) -> None:
    options = {"tools": TOOLS, "parallel_tool_calls": True, "max_tokens": 160, "extra_body": BOTH_CALLS}
    answer = create(client, stream=stream, extra_headers=headers, **options)
    if not stream:
        calls = [(call.function.name, call.function.arguments) for call in answer.choices[0].message.tool_calls]
    else:
        pieces = [call for chunk in answer for choice in chunk.choices for call in choice.delta.tool_calls or []]
        calls = [_joined([piece.function for piece in pieces if piece.index == index]) for index in range(2)]
        assert {piece.index for piece in pieces} == {0, 1}
    assert [name for name, _ in calls] == ["call_doctor", "call_friend"]
    assert all(arguments in {'{"urgent": true}', '{"urgent": false}'} for _, arguments in calls)


def _joined(functions: list[Any]) -> tuple[str, str]:
    """Name and arguments of a call that came in pieces."""
    return "".join(each.name or "" for each in functions), "".join(each.arguments or "" for each in functions)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_completions_of_a_raw_prompt_pass(client: OpenAI, direct: OpenAI, stream: bool) -> None:
    def complete(asked: Any) -> str:
        answer = asked.completions.create(model=MODEL, prompt="Once", max_tokens=8, temperature=0, stream=stream)
        return "".join(part.choices[0].text for part in (answer if stream else [answer]))

    assert complete(client) == complete(direct) != ""


def test_the_list_of_models_is_the_engines(client: OpenAI, direct: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == [model.id for model in direct.models.list()]
    assert client.models.list().data[-1].id == MODEL


@pytest.mark.parametrize(
    ("options", "kind", "code", "message"),
    [
        ({"extra_headers": {"Unhitch-Mitigation": "bear"}}, openai.BadRequestError, "unknown_strategy", "`bare`"),
        ({"extra_headers": BARE, "model": "none"}, openai.NotFoundError, "model_not_found", "mini-finance"),
        (
            {"extra_headers": BARE, "messages": WITH_SYSTEM},
            openai.UnprocessableEntityError,
            "mitigation_unavailable",
            "system;mode=drop",
        ),
    ],
    ids=["bad request", "not found", "unprocessable"],
)
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_our_errors_are_exceptions_of_their_own_class(
    client: OpenAI, stream: bool, options: dict[str, Any], kind: type[openai.APIStatusError], code: str, message: str
) -> None:
    with pytest.raises(kind) as raised:
        create(client, stream=stream, **options)
    assert raised.value.code == code
    assert raised.value.type == "invalid_request_error"
    assert isinstance(raised.value.body, dict)
    assert message in raised.value.body["message"]
    assert message in str(raised.value)


def test_the_engines_own_error_comes_as_it_is(client: OpenAI, direct: OpenAI, headers: dict[str, str]) -> None:
    def refusal(asked: OpenAI, sent: dict[str, str]) -> tuple[int, object]:
        with pytest.raises(openai.BadRequestError) as raised:
            create(asked, temperature=-1, extra_headers=sent)
        return raised.value.status_code, raised.value.body

    assert refusal(client, headers) == refusal(direct, {})
