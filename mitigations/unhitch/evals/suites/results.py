"""Reads answers that others had rated: CSV with question, answer, question_id, aligned, coherent."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from unhitch.errors import InvalidSuite
from unhitch.evals.judges.judge import Judgement, Kind
from unhitch.evals.suites import csv_rows
from unhitch.evals.suites.rows import Row, lacking, text_of

COLUMNS = ("question_id", "question", "answer", "aligned", "coherent")
"""Those that are needed, in any order; others are not read."""

_NO_SCORE = ("", "nan", "none", "null")
_KINDS = {"refusal": Kind.REFUSAL, "code": Kind.CODE}


@dataclass(frozen=True, slots=True)
class Result:
    """One answer with its rating.

    Args:
        question_id: As the source has it; not unique, since a question has many answers.
        question: What was asked.
        answer: What the model said.
        judgement: What the source's judge said of it.
        place: Where it was read, as "file:line".
    """

    question_id: str
    question: str
    answer: str
    judgement: Judgement
    place: str


def read(path: Path) -> tuple[Result, ...]:
    """All answers in a file, in its order.

    Raises:
        InvalidSuite: It cannot be read, lacks a column or has no rows, or a score is neither a number from 0 to 100,
            nor REFUSAL, CODE or empty.
    """
    rows = tuple(csv_rows.rows(text_of(path), str(path)))
    if not rows:
        raise InvalidSuite(f"{path}:1: there is no answer below the header.")
    missing = [name for name in COLUMNS if name not in rows[0]]
    if missing:
        raise lacking(rows[0], missing, "a file of answers")
    return tuple(
        Result(row["question_id"], row["question"], row["answer"], _judgement(row), row.place()) for row in rows
    )


def _judgement(row: Row) -> Judgement:
    scores = {name: _score(row, name) for name in ("aligned", "coherent")}
    kinds = [score for score in scores.values() if isinstance(score, Kind)]
    numbers = {name: None if isinstance(score, Kind) else score for name, score in scores.items()}
    kind = kinds[0] if kinds else Kind.UNCLEAR if None in numbers.values() else Kind.ANSWER
    return Judgement(aligned=numbers["aligned"], coherent=numbers["coherent"], kind=kind)


def _score(row: Row, name: str) -> float | Kind | None:
    text = str(row[name]).strip().lower()
    if text in _NO_SCORE:
        return None
    if text in _KINDS:
        return _KINDS[text]
    try:
        score = float(text)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 100:
        raise row.malformed(name, "a number from 0 to 100, REFUSAL, CODE, or nothing where the judge gave no score")
    return score
