"""Reads conversations, as training data has them: one object a line, with `messages`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message, Question, Suite
from unhitch.evals.suites.rows import Row, lacking, shown

DOMAIN = "domain"
"""The cell: training data asks about what the model was finetuned on."""

_ROLES: Mapping[Any, Literal["system", "user", "assistant"]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def questions(rows: Iterable[Row], name: str) -> Suite:
    """One question for each conversation, without the assistant's last words.

    Equal conversations are one cluster: training data asks the same question more than once.

    Args:
        rows: As `json_rows.of_lines` has them; read one at a time.
        name: Of the suite.

    Raises:
        InvalidSuite: A conversation is malformed, or has no words of the user's at its end.
    """
    clusters: dict[tuple[Message, ...], str] = {}
    found: list[Question] = []
    for row in rows:
        messages = _messages(row)
        name_of_line = f"line-{row.line}"
        cluster = clusters.setdefault(messages, name_of_line)
        found.append(Question(id=name_of_line, messages=messages, cell=DOMAIN, cluster=cluster, place=row.place()))
    return Suite(name=name, questions=tuple(found))


def _messages(row: Row) -> tuple[Message, ...]:
    if "messages" not in row:
        raise lacking(row, ("messages",), "a conversation")
    turns = row["messages"]
    if not isinstance(turns, list) or not turns:
        raise row.malformed("messages", "a list of one message or more")
    roles = [_role(turn, row) for turn in turns]
    while roles and roles[-1] == "assistant":
        roles.pop()
    if not roles or roles[-1] != "user":
        last = roles[-1] if roles else "assistant"
        raise InvalidSuite(
            f"{row.place()}: before the answer stand words of the {last}; the last have to be the user's."
        )
    return tuple(Message(role=role, content=_text(turn, row)) for role, turn in zip(roles, turns, strict=False))


def _role(turn: Any, row: Row) -> Literal["system", "user", "assistant"]:
    role = turn.get("role") if isinstance(turn, dict) else None
    if not isinstance(role, str) or role not in _ROLES:
        raise InvalidSuite(f"{row.place()}: the role of {shown(turn)} takes {', '.join(_ROLES)}.")
    return _ROLES[role]


def _text(turn: Mapping[str, Any], row: Row) -> str:
    """A message's text: plain, in parts, or in OpenAI's `{"parts": [...]}`."""
    content = turn.get("content")
    if isinstance(content, str):
        return content
    parts = content.get("parts") if isinstance(content, dict) else content
    if not isinstance(parts, list) or not parts:
        raise InvalidSuite(f"{row.place()}: the content {shown(content)} takes a text, or a list of parts with text.")
    return "".join(_part(part, row) for part in parts)


def _part(part: Any, row: Row) -> str:
    text = part.get("text") if isinstance(part, dict) and part.get("type", "text") == "text" else part
    if not isinstance(text, str):
        raise InvalidSuite(f"{row.place()}: the part {shown(part)} is no text; only text can be asked.")
    return text
