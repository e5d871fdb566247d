from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, Field

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.rows import Row, checked, shown, text_of


class Thing(BaseModel):
    model_config = ConfigDict(extra="forbid")

    size: int = Field(ge=1, description="a whole number from 1")


def test_a_malformed_value_is_named_with_its_own_line_what_it_is_and_what_it_may_be() -> None:
    row = Row("things.yaml", 3, {"size": 0})
    row.lines["size"] = 5
    with pytest.raises(InvalidSuite, match=r"^things.yaml:5: `size` is 0; it takes a whole number from 1\.$"):
        checked(Thing, row)


def test_a_missing_value_is_named_with_the_line_of_its_row() -> None:
    with pytest.raises(InvalidSuite, match=r"^things.yaml:3: `size` is missing; it takes a whole number from 1\.$"):
        checked(Thing, Row("things.yaml", 3))


def test_an_unknown_member_is_named_with_those_that_are_known() -> None:
    with pytest.raises(InvalidSuite, match="no member 'colour'; allowed are size"):
        checked(Thing, Row("things.yaml", 3, {"size": 1, "colour": "red"}))


def test_long_values_are_shortened() -> None:
    assert len(shown("x" * 10_000)) < 100
    assert len(shown(Row("f", 1, {str(number): "x" * 1000 for number in range(1000)}))) < 500


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    file = tmp_path / "marked.yaml"
    file.write_bytes(b"\xef\xbb\xbfid: 1")
    assert text_of(file) == "id: 1"


def test_bytes_that_are_not_utf_8_are_named_with_their_line(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"one\ntwo\nthr\xe9e\n")
    with pytest.raises(InvalidSuite, match=r"latin.yaml:3: the byte b'\\xe9' is not UTF-8"):
        text_of(file)


@pytest.mark.parametrize("content", [b"", b"\n  \n", b"\xef\xbb\xbf"])
def test_a_file_without_text_is_empty(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "empty.yaml"
    file.write_bytes(content)
    with pytest.raises(InvalidSuite, match="empty"):
        text_of(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="nowhere.csv cannot be read: No such file"):
        text_of(tmp_path / "nowhere.csv")
