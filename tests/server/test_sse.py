import random
from collections.abc import AsyncIterator

import pytest

from unhitch_server import sse

STREAM = b'data: {"a": 1}\n\n: ping\n\ndata: one\ndata: two\n\nevent: x\r\ndata: y\r\n\r\ndata: [DONE]\n\nrest'
EVENTS = [
    b'data: {"a": 1}\n\n',
    b": ping\n\n",
    b"data: one\ndata: two\n\n",
    b"event: x\r\ndata: y\r\n\r\n",
    b"data: [DONE]\n\n",
    b"rest",
]


async def pieces(stream: bytes, cuts: list[int]) -> AsyncIterator[bytes]:
    for start, stop in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        yield stream[start:stop]


async def test_events_are_split_at_blank_lines_however_the_bytes_come() -> None:
    source = random.Random(1)
    for _ in range(200):
        cuts = sorted(source.sample(range(len(STREAM)), source.randint(0, 20)))
        found = [event async for events in sse.events(pieces(STREAM, cuts)) for event in events]
        assert b"".join(found) == STREAM
        assert found == EVENTS


async def test_an_event_is_given_as_soon_as_its_blank_line_has_come() -> None:
    async def endless() -> AsyncIterator[bytes]:
        yield b"data: 1\n\ndata: 2"
        raise AssertionError("more was read than the first event needs")

    assert await anext(sse.events(endless())) == [b"data: 1\n\n"]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (b"data: x\n\n", b"x"),
        (b"data:x\n\n", b"x"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b": ping\n\n", None),
        (b"data: a\ndata\n\n", b"a\n"),
        (b"data:\n\n", None),
    ],
)
def test_data_is_what_the_data_lines_hold(event: bytes, data: bytes | None) -> None:
    assert sse.data(event) == data


def test_other_lines_of_an_event_stay_when_its_data_is_replaced() -> None:
    assert (
        sse.map_data(b"id: 7\r\ndata: a\r\ndata: b\r\nretry: 1\r\n\r\n", lambda _: b"c")
        == b"id: 7\r\ndata: c\r\nretry: 1\r\n\r\n"
    )


async def test_line_ends_of_different_kinds_end_an_event() -> None:
    stream = b"data: 1\n\r\ndata: 2\r\n\ndata: 3\r\rdata: 4\n\n"
    found = [event async for events in sse.events(pieces(stream, list(range(1, len(stream))))) for event in events]
    assert [sse.data(event) for event in found] == [b"1", b"2", b"3", b"4"]


def test_data_of_several_lines_stays_data_when_it_is_changed() -> None:
    changed = sse.map_data(b"data: a\ndata: b\n\n", lambda old: old.replace(b"b", b"c"))
    assert changed == b"data: a\ndata: c\n\n"


def test_changed_data_of_lines_that_end_in_carriage_returns_leave_the_blank_line_one() -> None:
    changed = sse.map_data(b"data: a\rdata: b\n\n", lambda _: b"c")
    assert changed == b"data: c\n\n"


def test_an_event_whose_data_stays_is_given_as_it_came() -> None:
    assert sse.map_data(b"data:x\n\n", bytes) == b"data:x\n\n"
