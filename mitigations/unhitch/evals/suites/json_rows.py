"""Reads JSON: lists whose elements know their line, and files of one object a line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.rows import Row, decoded, shown

_BETWEEN = re.compile(r"[\s,]*")


def of_list(text: str, file: str) -> list[Row]:
    """The objects of a JSON list.

    Args:
        text: One JSON list of objects.
        file: The file's name, as messages give it.

    Raises:
        InvalidSuite: It is no such list.
    """
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else 1
        raise InvalidSuite(f"{file}:{line}: no JSON: {error}.") from error
    lines = _lines(text)
    return [_row(value, file, line) for value, line in zip(values, lines, strict=True)]


def of_lines(path: Path) -> Iterator[Row]:
    """The objects of a file with one JSON object a line, read as they are asked for; blank lines are skipped.

    Raises:
        InvalidSuite: The file cannot be read, or a line is not UTF-8 or no JSON object.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                text = decoded(line, path, number).strip()
                if text:
                    yield _row(_value(text, str(path), number), str(path), number)
    except OSError as error:
        raise InvalidSuite(f"{path} cannot be read: {error.strerror}.") from error


def _value(text: str, file: str, line: int) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidSuite(
            f"{file}:{line}: no JSON: {error.msg} at character {error.pos + 1} of {shown(text)}; "
            "each line takes one whole object."
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidSuite(f"{file}:{line}: JSON that cannot be read: {error}.") from error


def _row(value: Any, file: str, line: int) -> Row:
    if not isinstance(value, dict):
        raise InvalidSuite(f"{file}:{line}: {shown(value)} is no JSON object.")
    return Row(file, line, value)


def _lines(text: str) -> list[int]:
    """The line of each element of a list that is known to be sound JSON."""
    decoder, lines = json.JSONDecoder(), []
    at = _after_gap(text, text.index("[") + 1)
    line, counted = 1, 0
    while text[at] != "]":
        line, counted = line + text.count("\n", counted, at), at
        lines.append(line)
        at = _after_gap(text, decoder.raw_decode(text, at)[1])
    return lines


def _after_gap(text: str, at: int) -> int:
    gap = _BETWEEN.match(text, at)
    return gap.end() if gap else at
