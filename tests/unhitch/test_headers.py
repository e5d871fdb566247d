from __future__ import annotations

import base64

import http_sf
import pytest

from unhitch.errors import HeaderError
from unhitch.headers import (
    Applied,
    Receipt,
    Value,
    Word,
    format_applied,
    format_evidence,
    format_receipt,
    parse_mitigation,
    parse_policy,
    parse_session,
)


def asked(*lines: str) -> list[tuple[str, dict[str, Value]]]:
    return [(entry.name, dict(entry.parameters)) for entry in parse_mitigation(*lines)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("off", [("off", {})]),
        ('"off"', [("off", {})]),
        ("perturb;edits=10;seed=7", [("perturb", {"edits": 10, "seed": 7})]),
        ("a,b , \tc", [("a", {}), ("b", {}), ("c", {})]),
        ("a;mix=0.25", [("a", {"mix": 0.25})]),
        ("a;on;off=?0", [("a", {"on": True, "off": False})]),
        ('a;text="x, \\"y\\"; z"', [("a", {"text": 'x, "y"; z'})]),
        ('a;text=%"f%c3%bcr %22dich%22%0a"', [("a", {"text": 'für "dich"\n'})]),
    ],
)
def test_a_list_of_strategies_is_read(line: str, expected: list[tuple[str, dict[str, Value]]]) -> None:
    assert asked(line) == expected


def test_several_lines_are_one_list() -> None:
    assert asked("system;mode=drop", "bare") == asked("system;mode=drop, bare")


def test_a_decimal_is_a_float() -> None:
    assert type(parse_mitigation("a;mix=0.5")[0].parameters["mix"]) is float


@pytest.mark.parametrize("lines", [(), ("",), ("  ",), ("", ""), (" , ",)])
def test_no_value_is_an_error(lines: tuple[str, ...]) -> None:
    with pytest.raises(HeaderError, match="Unhitch-Mitigation has no value") as caught:
        parse_mitigation(*lines)
    assert caught.value.param == "Unhitch-Mitigation"


@pytest.mark.parametrize(
    ("line", "character"),
    [
        ("a,", 3),
        ("a b", 3),
        ("a;X=1", 3),
        ("a;x=", 5),
        ("a;x='y'", 5),
        ('a;text="y', 10),
        ("(a b)", 1),
        ("a, (b)", 4),
        ('a;text=%"x\\", (b)', 15),
        ("7", 1),
        ("a;when=@1", 1),
        ("a, b;raw=:YWJj:", 4),
        ("a;x=1;x=2", 10),
        ("aé", 2),
        ('a;text="é"', 9),
        ("a\x00", 2),
        ("a\nb", 2),
        ("a\x7f", 2),
    ],
)
def test_an_error_names_header_and_character(line: str, character: int) -> None:
    with pytest.raises(HeaderError, match=rf"^Unhitch-Mitigation, character {character}: "):
        parse_mitigation(line)


def test_an_error_in_a_later_line_counts_from_the_start_of_the_joined_value() -> None:
    with pytest.raises(HeaderError, match="character 10"):
        parse_mitigation("perturb", "é")


def test_an_error_says_what_is_expected() -> None:
    with pytest.raises(HeaderError, match=r"Send strategies separated by commas, such as `perturb;edits=10;seed=7`"):
        parse_mitigation("?")


def test_non_ascii_text_is_pointed_to_display_strings() -> None:
    with pytest.raises(
        HeaderError, match='write such text as a display string, percent-encoded UTF-8 between %" and "'
    ):
        parse_mitigation('system;text="für"')


def test_what_was_read_cannot_be_changed() -> None:
    parameters = parse_mitigation("a;x=1")[0].parameters
    with pytest.raises(TypeError):
        parameters["x"] = 2  # type: ignore[index]


@pytest.mark.parametrize(
    ("value", "session"),
    [('"conv-42"', "conv-42"), ("conv-42", "conv-42"), ('%"f%c3%bcr"', "für"), ('"a, b"', "a, b")],
)
def test_a_session_is_a_string_or_a_word(value: str, session: str) -> None:
    assert parse_session(value) == session


@pytest.mark.parametrize("value", ["42", "?1", "a, b", '"a";b', '""', "", ":YWJj:", "é", '"a'])
def test_anything_else_is_no_session(value: str) -> None:
    with pytest.raises(HeaderError, match="^Unhitch-Session"):
        parse_session(value)


def test_two_sessions_are_an_error() -> None:
    with pytest.raises(HeaderError, match="^Unhitch-Session"):
        parse_session('"a"', '"b"')


@pytest.mark.parametrize("value", ["strict", '"strict"'])
def test_a_policy_is_a_word_or_a_string(value: str) -> None:
    assert parse_policy(value) == "strict"


@pytest.mark.parametrize("value", ["1", "strict, lax", "strict;x"])
def test_anything_else_is_no_policy(value: str) -> None:
    with pytest.raises(HeaderError, match="^Unhitch-Policy"):
        parse_policy(value)


def test_applied_is_written_in_canonical_form() -> None:
    entries = [
        Applied("system", {"mode": Word("replace"), "text": "Answer.", "negation": True}, 1, 12),
        Applied("blend", {"mix": 0.5, "whole": 1.0, "soft": False, "seed": 7}, 2, 3),
    ]
    assert format_applied(entries) == (
        'system;version=1;mode=replace;text="Answer.";negation;tokens=12, '
        "blend;version=2;mix=0.5;whole=1.0;soft=?0;seed=7;tokens=3"
    )


def test_off_is_written_as_off() -> None:
    assert format_applied([Applied("off")]) == "off"


@pytest.mark.parametrize(
    "text", ["", "plain", 'a "quoted" \\ text', "für dich", "two\nlines\tand a tab", "100%", "\U0001f642", "\x7f"]
)
def test_any_text_survives_the_header(text: str) -> None:
    line = format_applied([Applied("system", {"text": text}, 1, 1)])
    assert line.isascii()
    assert line.isprintable()
    assert parse_mitigation(line)[0].parameters["text"] == text


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    assert format_receipt(Receipt(b"", b"", b"", "a\ud800b")).endswith('model="a?b"')


def test_a_receipt_is_a_dictionary_of_digests_and_the_model() -> None:
    line = format_receipt(Receipt(b"\x01" * 32, b"\x02" * 32, b"\x03" * 32, 'a "b" ü'))
    parsed = http_sf.parse(line.encode("ascii"), tltype="dictionary")
    assert {key: value for key, (value, _) in parsed.items()} == {
        "before": b"\x01" * 32,
        "after": b"\x02" * 32,
        "template": b"\x03" * 32,
        "model": http_sf.DisplayString('a "b" ü'),
    }


def test_a_receipt_has_an_inner_list_of_states_where_some_were_served() -> None:
    line = format_receipt(Receipt(b"", b"", b"", "m", states=(b"\x01" * 32, b"\x02" * 32)))
    parsed = http_sf.parse(line.encode("ascii"), tltype="dictionary")
    assert [item for item, _ in parsed["states"][0]] == [b"\x01" * 32, b"\x02" * 32]
    assert "states" not in format_receipt(Receipt(b"", b"", b"", "m"))


def test_a_receipt_has_of_pool_scorecard_and_best_of_only_what_the_request_had_use_for() -> None:
    line = format_receipt(Receipt(b"", b"", b"", "m", pool=b"\x01" * 32, scorecard=b"\x02" * 32, tried=4, score=93.5))
    parsed = {key: value for key, (value, _) in http_sf.parse(line.encode("ascii"), tltype="dictionary").items()}
    assert (parsed["pool"], parsed["scorecard"], parsed["tried"]) == (b"\x01" * 32, b"\x02" * 32, 4)
    assert float(parsed["score"]) == 93.5
    assert format_receipt(Receipt(b"", b"", b"", "m")) == 'before=::, after=::, template=::, model="m"'


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (format_evidence("passed", b"\x01" * 32), f"passed;scorecard=:{base64.b64encode(bytes([1] * 32)).decode()}:"),
        (format_evidence("missing"), "missing"),
        (format_evidence("stale", b"\x01" * 32, ["template"]), "stale;changed=template"),
        (format_evidence("stale", None, ["base", "strategy version"]), "stale;changed=base+strategy-version"),
    ],
)
def test_evidence_is_one_word_with_parameters(line: str, expected: str) -> None:
    assert line == expected
    assert http_sf.parse(line.encode("ascii"), tltype="item")
