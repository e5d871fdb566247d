from __future__ import annotations

import json

import pytest

from unhitch.errors import InvalidBody
from unhitch_server.access.cache_salt import salt_of, salted


def test_keys_have_salts_of_their_own_that_stay_the_same() -> None:
    assert salt_of("a") == salt_of("a") != salt_of("b")
    assert len(salt_of("a")) == 64


def test_a_clients_own_salt_keeps_its_users_apart_and_leads_to_nobody_elses_blocks() -> None:
    salts = [salt_of(identity, given) for identity in "ab" for given in (None, "", "x", salt_of("a"), salt_of("b"))]
    assert len(set(salts)) == len(salts)


def test_identity_and_own_salt_do_not_run_into_each_other() -> None:
    assert salt_of("a", 'b", "c') != salt_of('a", "b', "c")


def test_the_salt_is_put_into_the_body_and_nothing_else_changes() -> None:
    sent = salted(b'{"x":1e2, "cache_salt": "mine" , "y": 1}', "a").decode()
    assert sent == f'{{"x":1e2, "cache_salt": "{salt_of("a", "mine")}" , "y": 1}}'
    assert json.loads(salted(b"{}", "a")) == {"cache_salt": salt_of("a")}
    assert json.loads(salted(b'{"cache_salt": null}', "a")) == {"cache_salt": salt_of("a")}


def test_of_two_salts_the_one_that_the_engine_would_read_counts_and_neither_stays() -> None:
    sent = salted(b'{"cache_salt": "one", "cache\\u005fsalt": "two"}', "a")
    assert json.loads(sent) == {"cache_salt": salt_of("a", "two")}
    assert b"one" not in sent


@pytest.mark.parametrize("given", ["3", '""', "[]", "true"])
def test_what_is_no_salt_is_left_for_the_engine_to_refuse(given: str) -> None:
    body = f'{{"cache_salt": {given}}}'.encode()
    assert salted(body, "a") == body


@pytest.mark.parametrize("body", [b"", b"[1]", b'"x"', b"{"])
def test_what_is_no_object_cannot_be_salted(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        salted(body, "a")
