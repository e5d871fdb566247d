"""Reads a file of questions in whichever of the known forms it is written."""

from __future__ import annotations

import csv
from pathlib import Path

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Suite
from unhitch.evals.suites import betley, chats, csv_rows, json_rows, own, persona, yaml_rows
from unhitch.evals.suites.rows import Row, decoded, shown, text_of

ACCEPTED = (
    "YAML in the form of Betley et al. (a list of items with id, type and paraphrases), "
    "YAML in unhitch's own form (a mapping with `questions`), "
    "CSV with the columns id, question or prompt, and category, the same rows as a JSON list, "
    "and JSONL with `messages` in every line"
)
"""The forms, in words."""


def read(path: Path, *, cell: str | None = None) -> Suite:
    """The questions in a file, whose form is told by its content.

    Args:
        path: The file; UTF-8.
        cell: The cell of all its questions, instead of the one that the form gives them.

    Raises:
        InvalidSuite: It cannot be read, is in none of the forms, or is malformed; the message has file and line.
    """
    suite = _read(path)
    if cell is None:
        return suite
    moved = tuple(question.model_copy(update={"cell": cell}) for question in suite.questions)
    return Suite(name=suite.name, questions=moved)


def _read(path: Path) -> Suite:
    opening = _opening(path)
    if opening.startswith("{"):
        return chats.questions(json_rows.of_lines(path), path.stem)
    text = text_of(path)
    if opening.startswith("["):
        return persona.questions(json_rows.of_list(text, str(path)), path.stem)
    columns = _columns(opening)
    if len(columns) > 1 and columns & {"question", "prompt"}:
        if "answer" in columns:
            raise InvalidSuite(f"{path}:1: these are answers (there is a column `answer`), and questions are wanted.")
        return persona.questions(csv_rows.rows(text, str(path)), path.stem)
    document = yaml_rows.load(text, str(path))
    if isinstance(document, list):
        return betley.questions(document, path.stem, str(path))
    if isinstance(document, Row) and "questions" in document:
        return own.questions(document, path.stem)
    raise InvalidSuite(f"{path}:1: {shown(opening)} begins none of the forms that can be read: {ACCEPTED}.")


def _opening(path: Path) -> str:
    """The first line that is not blank, without white space around it; the rest is not read."""
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if text := decoded(line, path, number).strip():
                    return text
    except OSError as error:
        raise InvalidSuite(f"{path} cannot be read: {error.strerror}.") from error
    raise InvalidSuite(f"{path}:1: the file is empty; accepted are {ACCEPTED}.")


def _columns(line: str) -> set[str]:
    try:
        return {name.strip() for name in next(csv.reader([line]))}
    except csv.Error:
        return set()
