"""The official anthropic package for Python, unmitigated: what the engine says on /v1/messages comes as it is."""

from collections.abc import Iterator
from itertools import groupby
from typing import Any

import pytest

from tests.e2e.clients.asking import MAX_TOKENS, MESSAGES, MODEL
from tests.e2e.conftest import Engine, Stack

ASKED: dict[str, Any] = {
    "model": MODEL,
    "max_tokens": MAX_TOKENS,
    "messages": MESSAGES,
    "extra_body": {"temperature": 0},
}


@pytest.fixture(params=[{}, {"Unhitch-Mitigation": "off"}], ids=["no header", "off"])
def through(anthropic: Any, stack: Stack, request: pytest.FixtureRequest) -> Iterator[Any]:
    """A client of the proxy."""
    options = {"api_key": "unused", "max_retries": 0, "default_headers": request.param}
    with anthropic.Anthropic(base_url=stack.url, **options) as opened:
        yield opened


@pytest.fixture
def straight(anthropic: Any, engine: Engine) -> Iterator[Any]:
    """A client of the bare engine."""
    with anthropic.Anthropic(base_url=engine.url, api_key="unused", max_retries=0) as opened:
        yield opened


def unnamed(message: Any) -> Any:
    """A message without its id, which is drawn for each."""
    return message.model_dump(exclude={"id"})


def test_a_plain_message_passes(through: Any, straight: Any) -> None:
    answer = through.messages.create(**ASKED)
    assert unnamed(answer) == unnamed(straight.messages.create(**ASKED))
    assert answer.content[0].text


def test_the_raw_message_shows_that_nothing_was_applied(through: Any) -> None:
    assert through.messages.with_raw_response.create(**ASKED).headers["Unhitch-Applied"] == "off"


def test_the_streaming_helper_gets_every_event(through: Any, straight: Any) -> None:
    def streamed(client: Any) -> tuple[list[str], str, Any]:
        """Kinds of events without repetitions (how many tokens a delta holds is the engine's chance), text, message."""
        with client.messages.stream(**ASKED) as stream:
            events = list(stream)
            kinds = [kind for kind, _ in groupby(event.type for event in events if event.type != "text")]
            text = "".join(event.text for event in events if event.type == "text")
            return kinds, text, unnamed(stream.get_final_message())

    kinds, text, message = streamed(through)
    assert (kinds, text, message) == streamed(straight)
    assert text == message["content"][0]["text"]
    assert message["content"][0]["text"] == through.messages.create(**ASKED).content[0].text


async def test_the_asynchronous_client_streams_too(anthropic: Any, stack: Stack, straight: Any) -> None:
    client = anthropic.AsyncAnthropic(base_url=stack.url, api_key="unused", max_retries=0)
    async with client, client.messages.stream(**ASKED) as stream:
        text = "".join([part async for part in stream.text_stream])
    assert text == straight.messages.create(**ASKED).content[0].text


def test_tokens_are_counted(through: Any, straight: Any) -> None:
    counted = through.messages.count_tokens(model=MODEL, messages=MESSAGES)
    assert counted == straight.messages.count_tokens(model=MODEL, messages=MESSAGES)
    assert counted.input_tokens > 0


def test_an_error_of_the_engine_is_an_exception_of_its_own_class(anthropic: Any, through: Any) -> None:
    with pytest.raises(anthropic.NotFoundError, match="does not exist"):
        through.messages.create(**ASKED | {"model": "none"})
