"""Reads the question lists of OpenAI's persona features: CSV, or the same rows as a JSON list."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import BaseModel, Field

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message, Question, Suite
from unhitch.evals.suites.rows import Row, checked, lacking

GRADER = "grader"
"""The name under which a row's own grader stands in `Question.judge_prompts`; it is a rubric without placeholders."""


class _Item(BaseModel):
    id: str | int = Field(description="a text or a number")
    question: str | None = Field(default=None, description="the question as a text")
    prompt: str | None = Field(default=None, description="the question as a text")
    category: str | None = Field(default=None, description="the category as a text")
    grader: str | None = Field(default=None, description="what the row is graded by, as a text")

    @property
    def text(self) -> str:
        return next((text for text in (self.question, self.prompt) if text and text.strip()), "")


def questions(rows: Iterable[Row], name: str) -> Suite:
    """One question for each row; `category` becomes the theme.

    The question is `question`, or else `prompt`. `canary` marks a file that is not to be trained on: it is never sent.
    The extended list counts ids anew in each category, so an id that comes back with another question gets a number.

    Args:
        rows: As `csv_rows.rows` or `json_rows.of_list` have them.
        name: Of the suite.

    Raises:
        InvalidSuite: A row has no id or no question, or is there twice.
    """
    found: list[Question] = []
    known: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        if "id" not in row or not {"question", "prompt"} & row.keys():
            raise lacking(row, ("id", "question or prompt"), "a list of questions")
        item = checked(_Item, row)
        if not item.text or str(item.id).strip() == "":
            raise row.malformed("id" if item.text else "question" if "question" in row else "prompt", "a text")
        places = known.setdefault(str(item.id), [])
        for text, place in places:
            if text == item.text:
                raise InvalidSuite(
                    f"{row.place()}: the id {item.id!r} stood with the same question at {place} already."
                )
        places.append((item.text, row.place()))
        found.append(_question(item, row, len(places)))
    return Suite(name=name, questions=tuple(found))


def _question(item: _Item, row: Row, count: int) -> Question:
    return Question(
        id=str(item.id) if count == 1 else f"{item.id}-{count}",
        messages=(Message(role="user", content=item.text),),
        theme=item.category or "",
        judge_prompts={GRADER: item.grader} if item.grader else {},
        place=row.place(),
    )
