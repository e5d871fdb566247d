"""The official clients understand why they were refused."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anthropic
import openai
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from tests.server.access.conftest import Clock, Filed
from unhitch.errors import UnhitchError
from unhitch_server.access.doorkeeper import Doorkeeper
from unhitch_server.network import free_port
from unhitch_server.reply import Reply
from unhitch_server.serving import Server, listening

LIST = b'{"object": "list", "data": []}'


@asynccontextmanager
async def guarded(doorkeeper: Doorkeeper) -> AsyncIterator[str]:
    """The URL of a server that answers whoever the doorkeeper lets in, as far as they may use model x."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        reply = Reply(send)
        try:
            async with doorkeeper.admit(scope) as caller:
                caller.require_model("x")
                await reply.whole(200, [(b"content-type", b"application/json")], LIST)
        except UnhitchError as error:
            await reply.error(error, [])

    port = free_port()
    async with listening(Server(uvicorn.Config(app, port=port, lifespan="off", log_level="error"))):
        yield f"http://127.0.0.1:{port}"


async def test_openais_client_raises_its_own_error_for_each_refusal(filed: Filed, clock: Clock) -> None:
    good, other = filed.add("a", per_minute=1), filed.add("b", models=["y"])
    async with guarded(Doorkeeper(filed.path, clock=clock)) as url:

        def client(key: str) -> openai.AsyncOpenAI:
            return openai.AsyncOpenAI(api_key=key, base_url=f"{url}/v1", max_retries=0)

        assert (await client(good).models.list()).data == []
        with pytest.raises(openai.RateLimitError) as limited:
            await client(good).models.list()
        with pytest.raises(openai.AuthenticationError) as unknown:
            await client("unh_wrong").models.list()
        with pytest.raises(openai.PermissionDeniedError) as forbidden:
            await client(other).models.list()
    assert limited.value.code == "rate_limit_exceeded"
    assert limited.value.response.headers["retry-after"] == "60"
    assert unknown.value.code == "invalid_api_key"
    assert forbidden.value.param == "model"


async def test_anthropics_client_is_known_by_its_own_header(filed: Filed) -> None:
    secret = filed.add("a")
    async with guarded(Doorkeeper(filed.path)) as url:

        def client(key: str) -> anthropic.AsyncAnthropic:
            return anthropic.AsyncAnthropic(api_key=key, base_url=url, max_retries=0)

        assert (await client(secret).models.list()).data == []
        with pytest.raises(anthropic.AuthenticationError):
            await client("unh_wrong").models.list()
