import traceback

import pytest

from unhitch.errors import InvalidKey
from unhitch_server.access.credentials import presented, upstream_headers

SECRET = b"unh_" + b"s" * 43


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer " + SECRET)],
        [(b"AUTHORIZATION", b"bearer   " + SECRET)],
        [(b"Authorization", b"\tBEARER\t" + SECRET + b" ")],
        [(b"X-Api-Key", SECRET)],
        [(b"x-api-key", SECRET), (b"authorization", b"Bearer " + SECRET)],
        [(b"authorization", b"Bearer " + SECRET)] * 2,
        [(b"authorization", b""), (b"x-api-key", SECRET)],
        [(b"x-api-key", b""), (b"authorization", b"Bearer " + SECRET)],
    ],
)
def test_a_key_is_read_from_either_header(headers: list[tuple[bytes, bytes]]) -> None:
    assert presented(headers) == SECRET


@pytest.mark.parametrize(
    "headers", [[], [(b"authorization", b"Bearer ")], [(b"x-api-key", b" ")], [(b"cookie", SECRET)]]
)
def test_no_key_is_none(headers: list[tuple[bytes, bytes]]) -> None:
    assert presented(headers) is None


@pytest.mark.parametrize(
    "headers",
    [
        [(b"authorization", b"Bearer " + SECRET), (b"x-api-key", b"other")],
        [(b"authorization", b"Bearer " + SECRET), (b"authorization", b"Bearer other")],
        [(b"x-api-key", SECRET), (b"X-API-KEY", b"other")],
    ],
)
def test_two_different_keys_are_refused(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(InvalidKey, match="different keys") as caught:
        presented(headers)
    assert SECRET.decode() not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("value", [SECRET, b"Basic " + SECRET, SECRET + b" Bearer", b"Bearer:" + SECRET])
def test_another_form_of_authorization_is_refused_and_not_repeated(value: bytes) -> None:
    with pytest.raises(InvalidKey, match="not of the form `Bearer KEY`") as caught:
        presented([(b"authorization", value)])
    assert SECRET.decode() not in "".join(traceback.format_exception(caught.value))


def test_two_keys_folded_into_one_line_are_no_key_that_could_be_known() -> None:
    assert presented([(b"authorization", b"Bearer " + SECRET + b", Bearer " + SECRET)]) != SECRET


CAME = [
    (b"accept", b"*/*"),
    (b"Authorization", b"Bearer " + SECRET),
    (b"authorization", b"Bearer " + SECRET),
    (b"X-API-Key", SECRET),
    (b"api-key", SECRET),
    (b"cookie", b"a=b"),
]


def test_the_engines_key_takes_the_place_of_the_clients() -> None:
    went = upstream_headers(CAME, "engine-key")
    assert went == [(b"accept", b"*/*"), (b"cookie", b"a=b"), (b"authorization", b"Bearer engine-key")]


def test_without_a_key_of_the_engine_none_goes_there() -> None:
    assert upstream_headers(CAME, None) == [(b"accept", b"*/*"), (b"cookie", b"a=b")]
