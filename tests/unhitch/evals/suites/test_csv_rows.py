import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.suites import csv_rows


def test_rows_know_their_first_line_though_values_have_line_breaks() -> None:
    rows = list(csv_rows.rows('id,text\r\n1,"two\r\nlines, and ""quotes"""\r\n\r\n2,plain\r\n', "f.csv"))
    assert [(row["text"], row.line) for row in rows] == [('two\r\nlines, and "quotes"', 2), ("plain", 5)]


def test_a_row_of_another_length_is_named_with_its_line() -> None:
    with pytest.raises(InvalidSuite, match=r"f.csv:3: 3 values, and the header has 2 columns \(id, text\)"):
        list(csv_rows.rows("id,text\n1,one\n2,well, two\n", "f.csv"))


def test_an_open_quote_is_named_with_the_line_where_its_row_begins() -> None:
    with pytest.raises(InvalidSuite, match="f.csv:3: no CSV"):
        list(csv_rows.rows('id,text\n1,one\n2,"two\n3,three\n', "f.csv"))


def test_a_column_that_stands_twice_is_an_error() -> None:
    with pytest.raises(InvalidSuite, match="f.csv:1: the column 'id' stands twice"):
        list(csv_rows.rows("id,text,id\n1,one,2\n", "f.csv"))
