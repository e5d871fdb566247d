"""Reads unhitch's own form of a suite: YAML that people can write by hand.

    name: my-questions            # else the file's name
    defaults: {cell: neutral}     # members that every question below has unless it says otherwise
    tools:                        # functions by name, as the API describes them
      get_weather: {description: ..., parameters: {...}}
    questions:
      - id: lost-keys
        theme: home               # what it is about
        ask: I am locked out. What now?        # or a list of phrasings, which are one cluster
        cell: system-role         # how it differs from a plain question
        cluster: lost-keys        # the question that it is a variant of
        system: You are a locksmith.           # the caller's system prompt
        before: [Good morning!, Good morning.] # earlier turns, the user's and the assistant's by turns
        tools: [get_weather]      # which of the tools above are on offer
        expects: max-words:40     # what a usable answer is: see `expects.py`
        samples: 10               # how often to ask it

Only `id` and `ask` are needed.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message, Question, Suite
from unhitch.evals.suites import expects
from unhitch.evals.suites.rows import Row, checked, shown


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, description="a text that no other question has; put numbers in quotes")
    ask: str | list[str] = Field(min_length=1, description="a question as a text, or a list of its phrasings")
    theme: str = Field(default="", description="a text")
    cell: str = Field(default="neutral", min_length=1, description="a text")
    cluster: str = Field(default="", description="the id of the question that it is a variant of")
    system: str | None = Field(default=None, description="a text")
    before: list[str] = Field(default=[], description="a list of texts, the user's and the assistant's by turns")
    tools: list[str] = Field(default=[], description="a list of names of tools")
    expects: str = Field(default="", description="a condition on the answer")
    samples: int | None = Field(default=None, ge=1, description="a whole number from 1")


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    name: str | None = Field(default=None, description="a text")
    defaults: dict[str, Any] = Field(default={}, description="members of questions")
    tools: dict[str, dict[str, Any]] = Field(default={}, description="functions by name, as the API describes them")
    questions: list[Any] = Field(min_length=1, description="a list of one question or more")


def questions(document: Row, name: str) -> Suite:
    """The suite in a document.

    Args:
        document: As `yaml_rows.load` has it.
        name: Of the suite, where the document has none.

    Raises:
        InvalidSuite: A member is malformed or unknown, a tool is not described, or two questions have one id.
    """
    file = checked(_File, document)
    found: list[Question] = []
    for number, row in enumerate(file.questions, 1):
        if not isinstance(row, Row):
            raise InvalidSuite(
                f"{document.place('questions')}: question {number} is {shown(row)}; it takes a mapping with id and ask."
            )
        found += _of_entry(_with_defaults(row, file.defaults), file.tools)
    return Suite(name=file.name or name, questions=tuple(found))


def _with_defaults(row: Row, defaults: dict[str, Any]) -> Row:
    whole = Row(row.file, row.line, {**defaults, **row})
    whole.lines = row.lines
    return whole


def _of_entry(row: Row, tools: dict[str, dict[str, Any]]) -> list[Question]:
    entry = checked(_Entry, row)
    _check_expects(entry, row)
    if len(entry.before) % 2:
        raise row.malformed("before", "an even number of texts: each turn of the user's with its answer")
    texts = [entry.ask] if isinstance(entry.ask, str) else entry.ask
    return [
        Question(
            id=entry.id if len(texts) == 1 else f"{entry.id}-{number}",
            messages=_messages(entry, text),
            theme=entry.theme,
            cell=entry.cell,
            cluster=entry.cluster or entry.id,
            samples=entry.samples,
            tools=tuple(_tool(name, tools, row) for name in entry.tools),
            expects=entry.expects,
            place=row.place(),
        )
        for number, text in enumerate(texts, 1)
    ]


def _tool(name: str, tools: dict[str, dict[str, Any]], row: Row) -> dict[str, Any]:
    if name not in tools:
        known = ", ".join(tools) or "none"
        raise InvalidSuite(f"{row.place('tools')}: the tool {name!r} is not described under `tools`; there: {known}.")
    try:
        described: dict[str, Any] = json.loads(json.dumps(tools[name]))
    except (TypeError, ValueError) as error:
        raise InvalidSuite(f"{row.place('tools')}: the tool {name!r} cannot be sent as JSON: {error}.") from error
    return {"type": "function", "function": {"name": name, **described}}


def _check_expects(entry: _Entry, row: Row) -> None:
    if not entry.expects:
        return
    try:
        expects.validate(entry.expects)
    except InvalidSuite as error:
        raise InvalidSuite(f"{row.place('expects')}: {error.message}") from error


def _messages(entry: _Entry, text: str) -> tuple[Message, ...]:
    opening = [] if entry.system is None else [Message(role="system", content=entry.system)]
    earlier = [
        Message(role="assistant" if number % 2 else "user", content=words) for number, words in enumerate(entry.before)
    ]
    return (*opening, *earlier, Message(role="user", content=text))
