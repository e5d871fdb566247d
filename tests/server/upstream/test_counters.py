from __future__ import annotations

import pytest
from starlette.types import Message

from unhitch.errors import EngineError
from unhitch_server.reply import ClientGone, Reply
from unhitch_server.upstream.counters import Counters

EDITED = [(b"unhitch-applied", b"perturb;version=1")]
PLAIN = [(b"unhitch-applied", b"off")]


async def nowhere(_: Message) -> None:
    pass


async def counted(status: int, headers: list[tuple[bytes, bytes]], *, mitigating: bool) -> dict[str, int]:
    counters, reply = Counters(), Reply(nowhere)
    with counters.counted(reply) as tally:
        tally.mitigating = mitigating
        await reply.whole(status, headers, b"")
    return {name: count for name, count in counters.as_dict().items() if count and name != "requests"}


@pytest.mark.parametrize(
    ("status", "headers", "mitigating", "expected"),
    [
        (200, EDITED, True, {"mitigated": 1}),
        (200, PLAIN, False, {"off": 1}),
        (422, PLAIN, True, {"refused": 1}),
        (502, PLAIN, True, {"failed": 1}),
    ],
)
async def test_each_request_is_in_one_count(
    status: int, headers: list[tuple[bytes, bytes]], expected: dict[str, int], *, mitigating: bool
) -> None:
    assert await counted(status, headers, mitigating=mitigating) == expected


async def test_an_answer_without_the_mitigation_that_was_due_is_seen() -> None:
    assert (await counted(200, PLAIN, mitigating=True))["unmitigated"] == 1


async def test_it_is_seen_even_where_the_client_left() -> None:
    counters, reply = Counters(), Reply(nowhere)

    async def leave() -> None:
        with counters.counted(reply) as tally:
            tally.mitigating = True
            await reply.start(200, PLAIN)
            raise ClientGone

    with pytest.raises(ClientGone):
        await leave()
    assert (counters.gone, counters.unmitigated, counters.under_way) == (1, 1, 0)


async def test_a_stream_that_ends_in_an_error_has_failed() -> None:
    counters, reply = Counters(), Reply(nowhere)
    with counters.counted(reply) as tally:
        tally.mitigating = True
        await reply.start(200, [(b"content-type", b"text/event-stream"), *EDITED])
        await reply.error(EngineError("broke"), [])
    assert (counters.failed, counters.mitigated) == (1, 0)
