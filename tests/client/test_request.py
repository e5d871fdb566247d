import pytest
from openai import OpenAI

from unhitch import headers
from unhitch.errors import HeaderError
from unhitch.headers import Applied
from unhitch_client import Off, Perturb, extra_headers, receipt


def test_nothing_asked_for_sends_no_header() -> None:
    assert extra_headers() == {}


def test_mitigation_policy_and_session_have_a_header_each() -> None:
    assert extra_headers(Perturb(seed=7), policy="strict", session="conversation 42") == {
        "Unhitch-Mitigation": "perturb;edits=10;neighbours=5;metric=cosine;span=prefix;protect=none;seed=7",
        "Unhitch-Policy": '"strict"',
        "Unhitch-Session": '"conversation 42"',
    }


@pytest.mark.parametrize("text", ["a", 'quoted "\\', "Grüße \N{WAVING HAND SIGN}", "line\nbreak", "?1"])
def test_any_text_can_be_a_session_or_a_policy(text: str) -> None:
    made = extra_headers(session=text, policy=text)
    assert headers.parse_session(made[headers.SESSION]) == text
    assert headers.parse_policy(made[headers.POLICY]) == text
    assert all(value.isascii() and value.isprintable() for value in made.values())


@pytest.mark.parametrize("text", ["", "\ud800"])
def test_a_session_that_has_no_form_in_a_header_is_refused(text: str) -> None:
    with pytest.raises(HeaderError, match="Unhitch-Session"):
        extra_headers(session=text)


def test_an_empty_policy_is_refused() -> None:
    with pytest.raises(HeaderError, match="Unhitch-Policy"):
        extra_headers(policy="")


def test_what_a_receipt_says_can_be_asked_for_again() -> None:
    applied = Applied("perturb", {"edits": 10, "seed": 7}, version=1, tokens=10)
    sent = extra_headers(applied)
    assert receipt({"unhitch-applied": sent["Unhitch-Mitigation"]}).applied == (applied,)


def test_the_headers_of_a_call_take_the_place_of_those_of_the_client(base_url: str) -> None:
    with OpenAI(base_url=base_url, api_key="-", default_headers=extra_headers("bare")) as client:
        create = client.chat.completions.with_raw_response.create
        first = create(model="m", messages=[])
        second = create(model="m", messages=[], extra_headers=extra_headers(Off()))
    assert [receipt(answer).applied for answer in (first, second)] == [(Applied("bare"),), (Applied("off"),)]
