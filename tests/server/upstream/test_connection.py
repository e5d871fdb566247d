import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from unhitch.errors import EngineError, EngineTimeout, EngineUnavailable
from unhitch_server.config import Config
from unhitch_server.upstream.connection import Upstream, forwardable

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Type: application/json\r\n\r\n{}"


@asynccontextmanager
async def engine(
    *, answers: int | None = None, raw: bytes = ANSWER, breaks_off: bool = False, **settings: object
) -> AsyncIterator[Upstream]:
    """An engine on the level of bytes.

    It closes a connection, without a word, that has had so many answers; one that breaks off closes it after the first.
    """

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        count = 0
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                if count == answers:
                    break
                count += 1
                writer.write(raw)
                await writer.drain()
                if breaks_off:
                    break
        except asyncio.IncompleteReadError:
            pass
        writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listener.sockets[0].getsockname()[1]
    config = Config.model_validate({"upstream": f"http://127.0.0.1:{port}", **settings})
    async with listener, Upstream(config) as upstream:
        yield upstream


async def test_a_kept_connection_that_the_engine_closed_is_not_the_clients_trouble() -> None:
    async with engine(answers=1) as upstream:
        assert [await upstream.ask("GET", "/x") for _ in range(5)] == [(200, {})] * 5


async def test_a_fresh_connection_that_the_engine_closes_is_an_error_and_not_tried_again() -> None:
    async with engine(answers=0) as upstream:
        with pytest.raises(EngineUnavailable, match="broke before it answered"):
            await upstream.ask("GET", "/x")


async def test_an_answer_that_breaks_off_is_an_error() -> None:
    raw = ANSWER.replace(b"Length: 2", b"Length: 9")
    async with engine(raw=raw, breaks_off=True) as upstream:
        with pytest.raises(EngineError, match="broke while its answer was read"):
            await upstream.ask("GET", "/x")


async def test_an_engine_that_does_not_answer_a_probe_in_time_is_an_error() -> None:
    async with engine(raw=b"", probe_timeout_seconds=0.3) as upstream:
        with pytest.raises(EngineTimeout):
            await upstream.ask("GET", "/x")


async def test_long_headers_of_the_engine_are_read() -> None:
    raw = ANSWER.replace(b"\r\n\r\n", b"\r\nX-Long: " + b"x" * 20_000 + b"\r\n\r\n")
    async with engine(raw=raw) as upstream, upstream.request("GET", "/x", [], None) as answer:
        assert len(dict(answer.headers)[b"X-Long"]) == 20_000


@pytest.mark.parametrize(
    "upstream",
    [
        "",
        "localhost:8000",
        "ftp://x",
        "http://",
        "http://a b",
        "http://localhost:99999",
        "http://u:p@h",
        "http://h?q=1",
    ],
)
def test_what_is_no_url_of_an_engine_is_refused_at_start(upstream: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        Config(upstream=upstream)


def test_headers_of_one_connection_are_not_forwarded() -> None:
    headers = [(b"Connection", b"close, X-Mine"), (b"x-mine", b"1"), (b"TE", b"trailers"), (b"Accept", b"*/*")]
    assert forwardable(headers) == [(b"Accept", b"*/*")]
