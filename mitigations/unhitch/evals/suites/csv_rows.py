"""Reads CSV with a header, so that every row knows its line."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterator

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.rows import Row


def rows(text: str, file: str) -> Iterator[Row]:
    """The rows below the header, by its names; all values are text. Blank lines are skipped.

    Args:
        text: CSV with commas; quoted values may hold line breaks.
        file: The file's name, as messages give it.

    Raises:
        InvalidSuite: A quote is left open, a row has more or fewer values than the header, or a column stands twice.
    """
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    begins = 1
    try:
        for values in reader:
            if values and not header:
                header = _header(values, file, begins)
            elif values:
                if len(values) != len(header):
                    raise InvalidSuite(
                        f"{file}:{begins}: {len(values)} values, and the header has {len(header)} columns "
                        f"({', '.join(header)}); put values with commas or line breaks in double quotes."
                    )
                yield Row(file, begins, dict(zip(header, values, strict=True)))
            begins = reader.line_num + 1
    except csv.Error as error:
        raise InvalidSuite(f"{file}:{begins}: no CSV: {error}.") from error


def _header(values: list[str], file: str, line: int) -> list[str]:
    names = [value.strip() for value in values]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise InvalidSuite(f"{file}:{line}: the column {twice[0]!r} stands twice in the header.")
    return names
