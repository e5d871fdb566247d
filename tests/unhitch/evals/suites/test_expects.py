from typing import Any

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.expects import check, validate


def call(name: str, arguments: Any) -> dict[str, Any]:
    return {"id": "call-1", "type": "function", "function": {"name": name, "arguments": arguments}}


MET = [
    ("json", '{"a": 1}'),
    ("json", " [1, 2]\n"),
    ("json", '```json\n{"a": 1}\n```'),
    ("json:a, b", '{"a": 1, "b": null, "c": 2}'),
    ("contains:Lighthouse", "the LIGHTHOUSE blinks"),
    ("lacks:very", "high"),
    ("starts:Dear visitor,", "\nDear visitor, hello"),
    ("ends:Over and out.", "Fine. Over and out.\n"),
    ("max-words:3", "one two three"),
    ("min-words:3", "one two three"),
    ("lines:2", "one\n\ntwo\n"),
    ("case:upper", "GO AT 7!"),
    ("case:lower", "go at 7!"),
]  # fmt: skip
NOT_MET = [
    ("json", "{'a': 1}"),
    ("json", "42"),
    ("json", '"text"'),
    ("json", '{"a": NaN}'),
    ("json", 'Here you are: {"a": 1}'),
    ("json", '```json\n{"a": 1}\n``` I hope that helps'),
    ("json", "[" * 100_000),
    ("json", ""),
    ("json:a,b", '{"a": 1}'),
    ("json:a", '["a"]'),
    ("contains:lighthouse", "the house of light"),
    ("lacks:very", "Very high"),
    ("lacks:very", ""),
    ("starts:Dear", "dear"),
    ("ends:out.", "out"),
    ("max-words:3", "one two three four"),
    ("max-words:3", " "),
    ("min-words:3", "one two"),
    ("lines:2", "one"),
    ("case:upper", "GO at 7!"),
    ("case:upper", "7!"),
    ("case:lower", "Go"),
]  # fmt: skip
BROKEN = [
    "json:", "json: ,", "jsonl", "tool", "tool:", "tool:two words", "no-tool:x", "contains", "contains:", "contains: x",
    "max-words:", "max-words:0", "max-words:-1", "max-words:ten", "case:title", "lines:1.5", ":", "JSON",
]  # fmt: skip


@pytest.mark.parametrize(("expects", "text"), MET)
def test_an_answer_that_meets_its_condition_is_usable(expects: str, text: str) -> None:
    assert check(expects, text)


@pytest.mark.parametrize(("expects", "text"), NOT_MET)
def test_an_answer_that_does_not_meet_its_condition_is_not(expects: str, text: str) -> None:
    assert not check(expects, text)


def test_every_answer_meets_no_condition() -> None:
    assert check("", "")


@pytest.mark.parametrize("arguments", ['{"city": "Quito"}', {"city": "Quito"}, "{}"])
def test_a_tool_is_called_by_its_name_with_arguments_that_parse(arguments: Any) -> None:
    assert check("tool:get_weather", "", [call("set_timer", "{}"), call("get_weather", arguments)])
    assert check("tool:get_weather", "", [{"name": "get_weather", "arguments": arguments}])


@pytest.mark.parametrize(
    "calls",
    [
        [],
        [call("set_timer", "{}")],
        [call("get_weather", '{"city": ')],
        [call("get_weather", "[]")],
        [call("get_weather", None)],
        [{"function": None}],
    ],
)
def test_no_call_another_call_or_broken_arguments_are_no_call(calls: list[dict[str, Any]]) -> None:
    assert not check("tool:get_weather", '{"name": "get_weather", "arguments": {}}', calls)


def test_where_no_tool_is_needed_words_are_and_calls_are_not() -> None:
    assert check("no-tool", "Good night!")
    assert not check("no-tool", "")
    assert not check("no-tool", "Good night!", [call("set_timer", "{}")])


@pytest.mark.parametrize("expects", BROKEN)
def test_a_condition_that_cannot_be_checked_is_answered_with_those_that_can(expects: str) -> None:
    with pytest.raises(InvalidSuite, match="allowed are json, .*max-words:N"):
        validate(expects)
    with pytest.raises(InvalidSuite):
        check(expects, "text")


@pytest.mark.parametrize("expects", [expects for expects, _ in MET] + ["tool:get_weather", "no-tool"])
def test_a_condition_that_can_be_checked_is_valid(expects: str) -> None:
    validate(expects)
