"""Sees whether an answer is what was asked for, and says so of itself."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tests.benchmarks.soak.cases import CHAT, COMPLETIONS, MESSAGES, RESPONSES, Case, Expected

Kind = Literal["answered", "refused", "down", "wrong"]
"""As it should be; an error that was due; what a dead engine brings about; a fault of the proxy."""

APPLIED, RECEIPT, FAILED_OPEN = "Unhitch-Applied", "Unhitch-Receipt", "Unhitch-Failed-Open"
DOWN = range(502, 505)
ENDS = {
    CHAT: b"data: [DONE]",
    COMPLETIONS: b"data: [DONE]",
    RESPONSES: b'"type":"response.completed"',
    MESSAGES: b'"type":"message_stop"',
}
"""What the last event of a whole stream holds."""


@dataclass(frozen=True)
class Seen:
    """What is to be said of one answer.

    Args:
        kind: In a word.
        words: What is wrong with it, or what broke it.
        applied: What its header says was done.
    """

    kind: Kind
    words: str = ""
    applied: str | None = None


def judge(
    case: Case, expected: tuple[Expected, ...], status: int, headers: Mapping[str, str], body: bytes, *, whole: bool
) -> Seen:
    """Looks at one answer.

    Args:
        case: What was asked.
        expected: What the answer may say of itself.
        status: Of the answer.
        headers: Of the answer, whatever their case.
        body: As far as it was read.
        whole: Whether it was read to the end, and the connection did not break; else only its headers are looked at.
    """
    applied = headers.get(APPLIED)
    if applied is None:
        return Seen("wrong", f"no {APPLIED}")
    if FAILED_OPEN in headers:
        return Seen("wrong", f"{FAILED_OPEN}: {headers[FAILED_OPEN]}", applied)
    if status != 200:
        return _error(case, status, body, applied)
    if case.status != 200:
        return Seen("wrong", f"{case.status} is due", applied)
    due = next((each for each in expected if each.applied == applied), None)
    if due is None:
        return Seen("wrong", f"{APPLIED} should be {' or '.join(each.applied for each in expected)}", applied)
    receipt = headers.get(RECEIPT, "")
    missing = [part for part in due.receipt if part not in receipt]
    if missing or bool(receipt) != bool(due.receipt):
        return Seen("wrong", f"{RECEIPT} lacks {missing}" if missing else f"{RECEIPT} is not due", applied)
    return _content(case, due, body, applied) if whole else Seen("answered", applied=applied)


def _error(case: Case, status: int, body: bytes, applied: str) -> Seen:
    try:
        fault = error_of(case.route, json.loads(body))
    except ValueError:
        fault = None
    if fault is None:
        return Seen("wrong", "no error object of the route's form", applied)
    if status in DOWN:
        return Seen("down", f"{status} {fault['code']}", applied)
    if (status, fault["code"]) != (case.status, case.code):
        return Seen("wrong", f"{case.status} {case.code or ''} is due", applied)
    return Seen("refused", applied=applied)


def error_of(route: str, fields: Any) -> dict[str, Any] | None:
    """The error in an error object; None where it has not the form that the route's clients read."""
    error = fields.get("error") if isinstance(fields, dict) else None
    if not isinstance(error, dict) or not {"message", "type", "code"} <= error.keys():
        return None
    if route == MESSAGES and fields.get("type") != "error":
        return None
    return error if isinstance(error["message"], str) and isinstance(error["type"], str) else None


def _content(case: Case, due: Expected, body: bytes, applied: str) -> Seen:
    try:
        events = _events(body) if case.stream else [json.loads(body)]
    except ValueError as error:
        return Seen("wrong", f"no JSON: {error}", applied)
    last = events[-1] if events else {}
    if case.stream and (fault := error_of(case.route, last)) is not None:
        return Seen("down", f"200, then {fault['code']}", applied)
    if case.stream and ENDS[case.route] not in body[-20000:]:
        return Seen("wrong", "the stream has no end", applied)
    found = _read(case.route, events[0], last, stream=case.stream)
    wanted = len(due.token_ids) if case.route == MESSAGES else due.token_ids
    if found != wanted:
        return Seen("wrong", f"the engine read {found}, not {wanted}", applied)
    return Seen("answered", applied=applied)


def _events(body: bytes) -> list[dict[str, Any]]:
    lines = (line.removeprefix(b"data: ") for line in body.splitlines() if line.startswith(b"data: "))
    return [json.loads(line) for line in lines if line != b"[DONE]"]


def _read(route: str, first: dict[str, Any], last: dict[str, Any], *, stream: bool) -> object:
    """The token ids that the engine says it read; on Anthropic's route, how many."""
    try:
        if route == CHAT:
            return first["prompt_token_ids"]
        if route == COMPLETIONS:
            return first["choices"][0]["prompt_token_ids"]
        if route == RESPONSES:
            return (last["response"] if stream else last)["input_messages"][0]["tokens"]
        usage = (first["message"] if stream else first)["usage"]
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        return sum(usage.get(name) or 0 for name in names)
    except (KeyError, IndexError, TypeError) as error:
        return f"nothing that can be found ({error!r})"
