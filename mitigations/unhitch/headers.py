"""The headers of unhitch as structured fields (RFC 9651): reading what a client asks, writing what was done.

Field lines of one name are joined by a comma and a space before they are read, as HTTP prescribes. Parameter values
are booleans, integers, decimals (three places), strings, or words: a word (RFC: token) and a string of the same letters
mean the same. Text outside printable ASCII travels as a display string (`%"f%c3%bcr"`). A parameter given twice is
refused, although the RFC would keep the last one: in a header that decides about safety, a contradiction is an error.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Literal, NoReturn, TypeAlias

import http_sf

from unhitch.errors import HeaderError

MITIGATION = "Unhitch-Mitigation"
"""Request: strategies with parameters, in order."""
POLICY = "Unhitch-Policy"
"""Request: a policy that the operator named."""
SESSION = "Unhitch-Session"
"""Request: keys the draw."""
APPLIED = "Unhitch-Applied"
"""Response: the canonical form of what was done."""
RECEIPT = "Unhitch-Receipt"
"""Response: digests that suffice to check that a request was redone."""
EVIDENCE = "Unhitch-Evidence"
"""Response, where the operator has evidence marked or required: what is known of the strategy on this model.

One word, with parameters: `passed;scorecard=:...:` or `failed;scorecard=:...:` (SHA-256 of the scorecard, 32 bytes),
`missing`, or `stale;changed=template`: what is not as it was when the scorecard was made, joined by `+` where it is
several (`weights`, `base`, `tokenizer`, `template`, `strategy-version`, `pool`).
"""

Status = Literal["passed", "failed", "missing", "stale"]
"""What is known of a strategy on a model; the words of `Unhitch-Evidence`."""

Value: TypeAlias = bool | int | float | str
"""What a parameter can hold; every value has a form in a structured header."""

MAX_TEXT_BYTES = 4096
"""Most bytes of a text in a header, as it is written there: clients and servers bound the headers that they read."""

_EXPECTED = {
    MITIGATION: "Send strategies separated by commas, such as `perturb;edits=10;seed=7` or `off`.",
    POLICY: 'Send one name, such as `strict` or `"strict"`.',
    SESSION: 'Send one string in double quotes, such as `"conversation-42"`.',
}
_MEMBER = re.compile(r'(?:%"[^"]*"|"(?:\\.|[^"\\])*"|[^",])+')
_UNPRINTABLE = re.compile(r"[^\t\x20-\x7e]")
_CACHED_HEADERS = 1024


class Word(str):
    """A value out of a fixed choice: written as a word (RFC: token), where other text is quoted."""

    __slots__ = ()


def _frozen(parameters: Mapping[str, Value]) -> Mapping[str, Value]:
    return MappingProxyType(dict(parameters))


@dataclass(frozen=True)
class Asked:
    """One strategy that somebody asked for, not yet validated.

    Args:
        name: The strategy's name as received.
        parameters: Read-only; as received, reserved ones (`version`, `tokens`) included.
    """

    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", _frozen(self.parameters))


@dataclass(frozen=True)
class Applied:
    """One strategy that was applied, with all that is needed to apply it again.

    Args:
        name: The strategy's name.
        parameters: Read-only; every parameter that has a value, defaults and the seed used included.
        version: The strategy's version, at least 1; None for `off`.
        tokens: How many tokens of the prompt it changed; None for `off`.
    """

    name: str
    parameters: Mapping[str, Value] = field(default_factory=dict)
    version: int | None = None
    tokens: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "parameters", _frozen(self.parameters))


@dataclass(frozen=True, slots=True)
class Receipt:
    """Digests of one request: enough to tell whether a prompt and its edit were reproduced.

    Args:
        before: SHA-256 of the token ids as rendered, 32 bytes (`unhitch.rendering.prompt.digest`).
        after: The same, of the ids that the engine was given.
        template: SHA-256 of the chat template's text, 32 bytes.
        model: The model's name as the client asked for it.
        states: SHA-256 of the files of the states that gave K/V, 32 bytes each, in the order of their positions.
        pool: SHA-256 of the variants of the pool that one was drawn from, 32 bytes.
        scorecard: SHA-256 of the scorecard that the strategy was chosen by, 32 bytes.
        tried: How many answers were generated to return the best of them.
        score: What the scorer gave the one that was returned, from 0 to 100.
        generated: How many tokens were generated for all of them.
    """

    before: bytes
    after: bytes
    template: bytes
    model: str
    states: tuple[bytes, ...] = ()
    pool: bytes | None = None
    scorecard: bytes | None = None
    tried: int | None = None
    score: float | None = None
    generated: int | None = None


@lru_cache(maxsize=_CACHED_HEADERS)
def parse_mitigation(*lines: str) -> tuple[Asked, ...]:
    """The strategies that an `Unhitch-Mitigation` header names, in order.

    Args:
        lines: The header's field lines in order of arrival, decoded as Latin-1 (as HTTP servers do); at least one.

    Returns:
        At least one entry; names and parameters are not validated.

    Raises:
        HeaderError: No value, not a list of words or strings, a parameter given twice, or a value of a kind that no
            parameter has (inner list, date, byte sequence).
    """
    raw = _joined(MITIGATION, lines)
    members = _parsed(MITIGATION, raw, "list")
    starts = [match.start() + len(match[0]) - len(match[0].lstrip()) for match in _MEMBER.finditer(raw)]
    return tuple(_asked(member, start) for member, start in zip(members, starts, strict=True))


@lru_cache(maxsize=_CACHED_HEADERS)
def parse_policy(*lines: str) -> str:
    """The policy that an `Unhitch-Policy` header names: one word or string.

    Raises:
        HeaderError: No value, several values, another kind of value, or parameters.
    """
    return _single_text(POLICY, lines)


def parse_session(*lines: str) -> str:
    """The session that an `Unhitch-Session` header names: one string; a bare word is tolerated.

    Raises:
        HeaderError: No value, several values, another kind of value, or parameters.
    """
    return _single_text(SESSION, lines)


def format_applied(applied: Sequence[Applied]) -> str:
    """The value of `Unhitch-Applied`: printable ASCII, and a valid `Unhitch-Mitigation` that redoes the edit.

    Args:
        applied: At least one entry.
    """
    return str(http_sf.ser([(http_sf.Token(entry.name), _wire_parameters(entry)) for entry in applied]))


def format_receipt(receipt: Receipt) -> str:
    """The value of `Unhitch-Receipt`: a dictionary of digests and the model's name, printable ASCII.

    `states` is an inner list, and absent where no state was served, as all else is that the request had no use for.
    """
    members: dict[str, Any] = {
        "before": receipt.before,
        "after": receipt.after,
        "template": receipt.template,
        "model": _wire_text(receipt.model),
    }
    if receipt.states:
        members["states"] = list(receipt.states)
    score = None if receipt.score is None else round(float(receipt.score), 3)
    optional = {"pool": receipt.pool, "scorecard": receipt.scorecard, "tried": receipt.tried, "score": score}
    optional["generated"] = receipt.generated
    return str(http_sf.ser(members | {key: value for key, value in optional.items() if value is not None}))


def format_evidence(status: Status, scorecard: bytes | None = None, changed: Sequence[str] = ()) -> str:
    """The value of `Unhitch-Evidence`.

    Args:
        status: What is known.
        scorecard: SHA-256 of the scorecard that says so, 32 bytes; only of use where it passed or failed.
        changed: What makes it stale; spaces become hyphens.
    """
    parameters: dict[str, Any] = {}
    if scorecard is not None and status in ("passed", "failed"):
        parameters["scorecard"] = scorecard
    if changed:
        parameters["changed"] = http_sf.Token("+".join(changed).replace(" ", "-"))
    return str(http_sf.ser((http_sf.Token(status), parameters)))


def _joined(header: str, lines: Sequence[str]) -> str:
    raw = ", ".join(lines)
    if not raw.strip(" \t,"):
        raise HeaderError(f"{header} has no value. {_EXPECTED[header]} Or leave the header out.", param=header)
    if bad := _UNPRINTABLE.search(raw):
        _refuse(
            header,
            bad.start(),
            f"character {ord(bad[0]):#04x} is outside printable ASCII; write such text as a display string, "
            'percent-encoded UTF-8 between %" and "',
        )
    return raw


def _parsed(header: str, raw: str, kind: str) -> Any:
    try:
        return http_sf.parse(raw.encode("ascii"), tltype=kind, on_duplicate_key=_refuse_duplicate)
    except http_sf.StructuredFieldError as error:
        _refuse(header, error.position or 0, f"{error.args[0]}{f' (in `{error.context}`)' if error.context else ''}")


def _refuse_duplicate(key: str, kind: str) -> NoReturn:
    raise http_sf.StructuredFieldError(f"{kind} `{key}` is given twice")


def _refuse(header: str, position: int, problem: str) -> NoReturn:
    raise HeaderError(f"{header}, character {position + 1}: {problem}. {_EXPECTED[header]}", param=header) from None


def _asked(member: tuple[Any, dict[str, Any]], start: int) -> Asked:
    name, parameters = member
    if not isinstance(name, str | http_sf.Token):
        _refuse(MITIGATION, start, f"a strategy's name is a word or a string, and this is {_kind(name)}")
    values: dict[str, Value] = {}
    for key, value in parameters.items():
        plain = _plain(value)
        if plain is None:
            _refuse(MITIGATION, start, f"parameter `{key}` of `{name}` is {_kind(value)}, which no parameter takes")
        values[key] = plain
    return Asked(str(name), values)


def _plain(value: Any) -> Value | None:
    if isinstance(value, http_sf.Token | http_sf.DisplayString):
        return str(value)
    if isinstance(value, Decimal):
        return float(value)
    return value if isinstance(value, bool | int | str) else None


def _single_text(header: str, lines: Sequence[str]) -> str:
    value, parameters = _parsed(header, _joined(header, lines), "item")
    if not isinstance(value, str | http_sf.Token | http_sf.DisplayString):
        _refuse(header, 0, f"the value is {_kind(value)}")
    if parameters:
        _refuse(header, 0, f"the value has parameters ({', '.join(parameters)}), and takes none")
    if not str(value):
        _refuse(header, 0, "the string is empty")
    return str(value)


def _kind(value: Any) -> str:
    kinds = {
        list: "an inner list",
        datetime: "a date",
        bytes: "a byte sequence",
        bool: "a boolean",
        int: "an integer",
        Decimal: "a decimal",
        http_sf.DisplayString: "a display string",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")


def _wire_parameters(entry: Applied) -> dict[str, Any]:
    wire = {} if entry.version is None else {"version": entry.version}
    wire |= {key: _wire_value(value) for key, value in entry.parameters.items()}
    return wire if entry.tokens is None else wire | {"tokens": entry.tokens}


def _wire_value(value: Value) -> Any:
    if isinstance(value, Word):
        return http_sf.Token(str(value))
    if isinstance(value, str):
        return _wire_text(value)
    return value


def text_bytes(text: str) -> int:
    """How many bytes a text takes in a header; outside printable ASCII a byte is written as three."""
    return len(text) if text.isascii() and text.isprintable() else 3 * len(text.encode("utf-8", "replace"))


def _wire_text(text: str) -> Any:
    text = text.encode("utf-8", "replace").decode()  # half a surrogate pair, possible in JSON, has no form on the wire
    return text if text.isascii() and text.isprintable() else http_sf.DisplayString(text)
