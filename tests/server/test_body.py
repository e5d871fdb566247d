import json

import pytest

from unhitch.errors import InvalidBody
from unhitch_server.access.cache_salt import salted
from unhitch_server.body import fields_of, renamed
from unhitch_server.routes.chat import ChatRequest

BODY = '{"model": "m", "x":1e2, "model": "alias" , "messages": []}'
ENCODINGS = ["utf-16", "utf-16-le", "utf-32"]


def test_only_the_model_is_renamed() -> None:
    assert renamed(BODY.encode(), "m-2") == b'{"x":1e2, "model": "m-2" , "messages": []}'


@pytest.mark.parametrize("encoding", [*ENCODINGS, "utf-8"])
def test_what_a_body_says_is_read_in_every_encoding_that_the_engine_reads(encoding: str) -> None:
    assert fields_of(BODY.encode(encoding)) == json.loads(BODY)


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_object_has_no_members(body: bytes) -> None:
    assert fields_of(body) is None


def test_whoever_edits_a_body_that_is_not_in_utf_8_says_so() -> None:
    body = b'{"model": "caf\xe9"}'
    with pytest.raises(InvalidBody, match="an alias of a model takes a body in UTF-8: .* position 14") as raised:
        renamed(body, "m")
    assert raised.value.param == "model"
    for edit in (lambda: salted(body, "key"), lambda: ChatRequest.parse(body)):
        with pytest.raises(InvalidBody, match="the body is not in UTF-8, as JSON has to be: .* position 14") as raised:
            edit()
        assert raised.value.param is None
