from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI

from unhitch.errors import HeaderError
from unhitch.headers import Applied
from unhitch_client import (
    Mitigation,
    NotFromUnhitch,
    NotMitigated,
    Off,
    Perturb,
    PrefixState,
    Receipt,
    extra_headers,
    receipt,
    require,
)

ASKED = "perturb;version=1;edits=10;seed=7;tokens=9"
EXPECTED = Receipt(
    applied=(Applied("perturb", {"edits": 10, "seed": 7}, version=1, tokens=9),),
    before=bytes(range(32)),
    after=bytes(32),
    template=b"\xff" * 32,
    model="mödel",
    duration_milliseconds=0.62,
    states=(b"\x01" * 32, b"\x02" * 32),
    pool=b"\x03" * 32,
    scorecard=b"\x04" * 32,
    tried=4,
    score=93.5,
    generated=120,
)
CALL: dict[str, Any] = {"model": "m", "messages": [], "extra_headers": extra_headers(ASKED)}


@pytest.fixture
def client(base_url: str) -> Iterator[OpenAI]:
    with OpenAI(base_url=base_url, api_key="-", max_retries=0) as made:
        yield made


def test_a_raw_response_has_a_receipt_and_the_completion(client: OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(**CALL)
    assert receipt(answer) == EXPECTED
    assert answer.parse().choices[0].message.content == "hello"


async def test_a_raw_response_of_the_async_client_has_a_receipt(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="-") as client:
        assert receipt(await client.chat.completions.with_raw_response.create(**CALL)) == EXPECTED


def test_a_streaming_response_has_its_receipt_before_the_first_chunk(client: OpenAI) -> None:
    with client.chat.completions.with_streaming_response.create(**CALL, stream=True) as answer:
        assert receipt(answer) == EXPECTED
        assert "hello" in "".join(answer.iter_text())


async def test_a_streaming_response_of_the_async_client_has_a_receipt(base_url: str) -> None:
    async with (
        AsyncOpenAI(base_url=base_url, api_key="-") as client,
        client.chat.completions.with_streaming_response.create(**CALL, stream=True) as answer,
    ):
        assert receipt(answer) == EXPECTED


def test_a_stream_of_chunks_has_a_receipt_and_stays_whole(client: OpenAI) -> None:
    stream = client.chat.completions.create(**CALL, stream=True)
    assert receipt(stream) == EXPECTED
    assert [chunk.choices[0].delta.content for chunk in stream] == ["hello"]


async def test_a_stream_of_the_async_client_has_a_receipt(base_url: str) -> None:
    async with AsyncOpenAI(base_url=base_url, api_key="-") as client:
        stream = await client.chat.completions.create(**CALL, stream=True)
        assert receipt(stream) == EXPECTED
        assert [chunk.choices[0].delta.content async for chunk in stream] == ["hello"]


def test_an_error_of_the_openai_package_has_a_receipt(client: OpenAI) -> None:
    with pytest.raises(NotFoundError) as caught:
        client.chat.completions.create(**CALL | {"model": "missing"})
    assert receipt(caught.value).applied == EXPECTED.applied


def test_a_response_of_httpx_has_a_receipt(base_url: str) -> None:
    answer = httpx.post(f"{base_url}/chat/completions", json={"model": "m"}, headers=extra_headers(ASKED))
    assert receipt(answer) == EXPECTED


def test_a_mapping_of_headers_is_read_without_regard_to_case() -> None:
    assert receipt({"UNHITCH-APPLIED": "bare", "server-timing": "unhitch;dur=2"}) == Receipt(
        applied=(Applied("bare"),), duration_milliseconds=2.0
    )


def test_field_lines_of_one_name_are_joined() -> None:
    answer = httpx.Response(200, headers=[("Unhitch-Applied", "bare"), ("Unhitch-Applied", "recase;seed=1")])
    assert receipt(answer).applied == (Applied("bare"), Applied("recase", {"seed": 1}))


@pytest.mark.parametrize("value", ["before=:AA==:", "states=()", "states", "states=(a 1)", "states=:AA==:"])
def test_a_receipt_without_digests_of_states_has_none(value: str) -> None:
    assert receipt({"unhitch-applied": "bare", "unhitch-receipt": value}).states == ()


def test_off_is_not_mitigated() -> None:
    assert not receipt({"unhitch-applied": "off"}).mitigated
    assert receipt({"unhitch-applied": "bare"}).mitigated


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        ("unhitch;dur=0.6", 0.6),
        ('total;dur=1,unhitch;desc="x";dur=2', 2.0),
        ("unhitch", None),
        ("unhitch;dur=fast", None),
        (";;,,=", None),
        ("", None),
    ],
)
def test_the_duration_is_read_beside_other_timings(timing: str, expected: float | None) -> None:
    assert receipt({"unhitch-applied": "off", "server-timing": timing}).duration_milliseconds == expected


def test_an_answer_without_the_header_is_not_from_unhitch(client: OpenAI) -> None:
    answer = client.chat.completions.with_raw_response.create(**CALL | {"model": "engine"})
    with pytest.raises(NotFromUnhitch, match=r"no Unhitch-Applied header.*base URL"):
        receipt(answer)


@pytest.mark.parametrize("value", ["", "(", "perturb;;", "caf\xe9"])
def test_an_applied_header_that_does_not_parse_is_not_from_unhitch(value: str) -> None:
    with pytest.raises(NotFromUnhitch, match="does not parse"):
        receipt({"unhitch-applied": value})


@pytest.mark.parametrize("value", ["before=:A", "=", "\xe9"])
def test_a_receipt_header_that_does_not_parse_is_not_from_unhitch(value: str) -> None:
    with pytest.raises(NotFromUnhitch, match="Unhitch-Receipt"):
        receipt({"unhitch-applied": "bare", "unhitch-receipt": value})


def test_a_parsed_completion_is_refused_with_the_call_to_make(client: OpenAI) -> None:
    completion: Any = client.chat.completions.create(**CALL)
    with pytest.raises(TypeError, match="with_raw_response"):
        receipt(completion)


@pytest.mark.parametrize(
    "required",
    [
        (),
        ("perturb",),
        (Mitigation("perturb", edits=10),),
        (Mitigation("perturb", seed=7, version=1, tokens=9),),
        EXPECTED.applied,
    ],
)
def test_require_gives_the_receipt_of_what_was_required(required: tuple[Any, ...]) -> None:
    assert require({"unhitch-applied": ASKED}, *required).applied == EXPECTED.applied


@pytest.mark.parametrize(
    ("applied", "required"),
    [
        ("off", ()),
        ("off", (Perturb(),)),
        (ASKED, (Off(),)),
        (ASKED, (Mitigation("perturb", edits=11),)),
        (ASKED, (Mitigation("perturb", version=2),)),
        (ASKED, (Perturb(edits=10, seed=7),)),
        (ASKED, ("perturb", "bare")),
        ("bare, perturb", ("perturb, bare",)),
        ("bare, perturb", ("bare",)),
    ],
)
def test_require_refuses_an_answer_with_anything_else(applied: str, required: tuple[Any, ...]) -> None:
    with pytest.raises(NotMitigated, match="was required, and the answer says"):
        require({"unhitch-applied": applied}, *required)


def test_what_is_said_of_a_state_meets_the_typed_mitigation() -> None:
    said = f'prefix-state;version=1;parts=kv;mix=1.0;state="{"a1" * 32}";capture=auto;tokens=24'
    assert require({"unhitch-applied": said}, PrefixState()).applied[0].parameters["state"] == "a1" * 32
    with pytest.raises(NotMitigated):
        require({"unhitch-applied": said}, PrefixState(mix=0.5))


def test_require_can_demand_that_nothing_was_edited() -> None:
    assert not require({"unhitch-applied": "off"}, Off()).mitigated


def test_require_refuses_a_text_that_does_not_parse() -> None:
    with pytest.raises(HeaderError):
        require({"unhitch-applied": "off"}, "perturb;")
