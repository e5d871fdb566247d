from pathlib import Path

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.suites import json_rows


def test_elements_of_a_list_know_their_lines() -> None:
    text = '[\n {"a": 1},\n {\n  "a": "[, ]"\n }, {"a": 3}\n]'
    rows = json_rows.of_list(text, "f.json")
    assert [(row["a"], row.place()) for row in rows] == [(1, "f.json:2"), ("[, ]", "f.json:3"), (3, "f.json:5")]


def test_an_empty_list_has_no_rows() -> None:
    assert json_rows.of_list("[ ]", "f.json") == []


def test_broken_json_is_named_with_its_line() -> None:
    with pytest.raises(InvalidSuite, match="f.json:2: no JSON"):
        json_rows.of_list('[{"a": 1},\n {"a": }]', "f.json")


def test_an_element_that_is_no_object_is_named_with_its_line() -> None:
    with pytest.raises(InvalidSuite, match=r"f.json:2: 'text' is no JSON object"):
        json_rows.of_list('[{"a": 1},\n "text"]', "f.json")


def test_lines_are_read_as_they_are_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('{"a": 1}\n\n{"a": 2}\nbroken\n')
    rows = json_rows.of_lines(file)
    assert [(next(rows)["a"], next(rows).line)] == [(1, 3)]
    with pytest.raises(InvalidSuite, match=r"f.jsonl:4: no JSON: Expecting value at character 1 of 'broken'"):
        next(rows)


def test_a_line_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(InvalidSuite, match="f.jsonl:2: the byte"):
        list(json_rows.of_lines(file))
