"""litellm as a client: an `openai/` model behind the proxy's URL."""

from typing import Any

import openai
import pytest

from tests.e2e.clients.asking import BARE, MAX_TOKENS, MESSAGES, MODEL, WITH_SYSTEM, applied
from tests.e2e.conftest import Stack


@pytest.fixture
def options(stack: Stack, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "model": f"openai/{MODEL}",
        "api_base": f"{stack.url}/v1",
        "api_key": "unused",
        "messages": MESSAGES,
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
        "extra_headers": headers,
        "num_retries": 0,
    }


def test_a_plain_answer_is_the_one_that_plain_http_gets(
    litellm: Any, options: dict[str, Any], headers: dict[str, str], said: str
) -> None:
    answer = litellm.completion(**options)
    assert answer.choices[0].message.content == said
    shown = answer._hidden_params["additional_headers"]["llm_provider-unhitch-applied"]
    assert shown.startswith(applied(headers))


def test_a_stream_says_the_same(litellm: Any, options: dict[str, Any], said: str) -> None:
    chunks = litellm.completion(stream=True, **options)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == said


async def test_asynchronous_answers_say_the_same(litellm: Any, options: dict[str, Any], said: str) -> None:
    assert (await litellm.acompletion(**options)).choices[0].message.content == said
    stream = await litellm.acompletion(stream=True, **options)
    assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == said


@pytest.mark.parametrize("headers", [BARE], ids=["bare"])
def test_our_errors_keep_class_status_and_message(litellm: Any, options: dict[str, Any]) -> None:
    with pytest.raises(openai.BadRequestError, match="Did you mean `bare`") as bad:
        litellm.completion(**options | {"extra_headers": {"Unhitch-Mitigation": "bear"}})
    with pytest.raises(openai.NotFoundError, match="the engine serves") as missing:
        litellm.completion(**options | {"model": "openai/none"})
    # litellm has no exception of its own for 422; the status stays.
    with pytest.raises(openai.APIStatusError, match="system;mode=drop") as unavailable:
        litellm.completion(**options | {"messages": WITH_SYSTEM})
    assert [each.value.status_code for each in (bad, missing, unavailable)] == [400, 404, 422]
