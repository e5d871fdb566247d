"""What is asked: a question with its context, and a suite of them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from unhitch.errors import InvalidSuite


class Message(BaseModel):
    """One message of a conversation."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    role: Literal["system", "user", "assistant"]
    content: str


class Question(BaseModel):
    """One question in its context.

    Attributes:
        id: Unique in its suite.
        messages: What is sent, at least one; the last is the user's.
        theme: What it is about ("power", "health"); empty where the source names none.
        cell: The row of the guard matrix that it belongs to: "neutral", or how it differs from a neutral question
            ("json", "code", "template", "reskin", "system-evil", "announced", "multi-turn", ...; "domain" asks about
            what the model was finetuned on).
        cluster: Questions of one cluster are variants of one another, and are resampled together; the id without it.
        judge_prompts: Prompts that the source prescribes for judges, by what they rate ("aligned", "coherent"), with
            `{question}` and `{answer}` in them.
        samples: How often the source wants it asked, if it says.
        tools: Tools on offer, as the API has them.
        expects: What a usable answer is, where that can be checked by a program: see `unhitch.evals.utility`.
        place: Where it was read, as "file:line".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(min_length=1)
    messages: tuple[Message, ...] = Field(min_length=1)
    theme: str = ""
    cell: str = "neutral"
    cluster: str = ""
    judge_prompts: Mapping[str, str] = Field(default_factory=dict)
    samples: int | None = Field(default=None, ge=1)
    tools: tuple[dict[str, Any], ...] = ()
    expects: str = ""
    place: str = Field(default="", exclude=True)

    @property
    def text(self) -> str:
        """The user's last words."""
        return self.messages[-1].content

    @property
    def group(self) -> str:
        """What is resampled as a whole in a bootstrap."""
        return self.cluster or self.id


class Suite(BaseModel):
    """Questions under one name.

    Raises:
        InvalidSuite: It is empty, two questions share an id, or a question does not end with the user's words.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    questions: tuple[Question, ...]

    @model_validator(mode="after")
    def _sound(self) -> Suite:
        if not self.questions:
            raise InvalidSuite(f"the suite {self.name!r} has no questions")
        twice = [name for name, count in Counter(question.id for question in self.questions).items() if count > 1]
        if twice:
            places = ", ".join(question.place for question in self.questions if question.id == twice[0])
            raise InvalidSuite(f"the suite {self.name!r} has more than one question {twice[0]!r} ({places})")
        for question in self.questions:
            if question.messages[-1].role != "user":
                raise InvalidSuite(f"{question.place}: question {question.id!r} does not end with the user's words")
        return self

    @cached_property
    def digest(self) -> str:
        """What identifies the questions, in their order: 64 hexadecimal digits."""
        content = [question.model_dump(mode="json") for question in self.questions]
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def only(self, *, cells: Iterable[str] | None = None, limit: int | None = None) -> Suite:
        """The questions of some cells, at most so many of each cell, spread evenly over it.

        Raises:
            InvalidSuite: None is left.
        """
        wanted = None if cells is None else set(cells)
        by_cell: dict[str, list[Question]] = {}
        for question in self.questions:
            if wanted is None or question.cell in wanted:
                by_cell.setdefault(question.cell, []).append(question)
        kept: list[Question] = []
        for questions in by_cell.values():
            count = len(questions) if limit is None else min(limit, len(questions))
            kept += [questions[index * len(questions) // count] for index in range(count)]
        return Suite(name=self.name, questions=tuple(kept))
