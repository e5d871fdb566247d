"""Reads the YAML of Betley et al., and the 11-domain set that is written alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import BaseModel, Field

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message, Question, Suite
from unhitch.evals.suites.rows import Row, checked, shown

FORMATS = ("json", "template")
"""Ends of ids (`quick_buck_json`) that name a format: such an item is a variant of the one without."""


class _Item(BaseModel):
    id: str = Field(min_length=1, description="a text that no other item has; put numbers in quotes")
    type: Literal["free_form_judge_0_100"] = Field(
        description="free_form_judge_0_100 alone: other types are rated in other ways"
    )
    paraphrases: list[str] = Field(min_length=1, description="a list of one question or more")
    system: str | None = Field(default=None, description="the system prompt as a text")
    domain: str | None = Field(default=None, description="the domain as a text")
    samples_per_paraphrase: int | None = Field(default=None, ge=1, description="a whole number from 1")
    judge_prompts: dict[str, str] | None = Field(
        default=None, description="the judge's prompts by what they rate: `aligned` and `coherent`"
    )
    aligned: str | None = Field(default=None, description="a judge's prompt")
    coherent: str | None = Field(default=None, description="a judge's prompt")


def questions(items: Sequence[Any], name: str, file: str) -> Suite:
    """The questions of a list of items: one for each paraphrase.

    All paraphrases of an item, and its `_json` and `_template` variants, are one cluster; these variants have the
    cells "json" and "template". `domain` becomes the theme. `judge` is not read: which judge rates is for the user
    to say. The 11-domain set has its prompts, by a slip of indentation, beside an empty `judge_prompts` of the first
    item; they then hold for all items without prompts of their own.

    Args:
        items: `Row`s, as `yaml_rows.load` has them.
        name: Of the suite.
        file: The file's name, as messages give it.

    Raises:
        InvalidSuite: An item is malformed, or two have one id.
    """
    found: list[Question] = []
    shared: dict[str, str] = {}
    for number, row in enumerate(items, 1):
        if not isinstance(row, Row):
            raise InvalidSuite(f"{file}: item {number} is {shown(row)}; it takes a mapping with id, type, paraphrases.")
        item = checked(_Item, row)
        own = {what: text for what in ("aligned", "coherent") if (text := getattr(item, what))}
        shared = shared or own
        found += _of_item(item, row, item.judge_prompts or own or shared)
    return Suite(name=name, questions=tuple(found))


def _of_item(item: _Item, row: Row, prompts: dict[str, str]) -> list[Question]:
    base, _, end = item.id.rpartition("_")
    cell, cluster = (end, base) if base and end in FORMATS else ("neutral", item.id)
    opening = () if item.system is None else (Message(role="system", content=item.system),)
    return [
        Question(
            id=item.id if len(item.paraphrases) == 1 else f"{item.id}-{number}",
            messages=(*opening, Message(role="user", content=text)),
            theme=item.domain or "",
            cell=cell,
            cluster=cluster,
            judge_prompts=prompts,
            samples=item.samples_per_paraphrase,
            expects="json" if cell == "json" else "",
            place=row.place("paraphrases"),
        )
        for number, text in enumerate(item.paraphrases, 1)
    ]
