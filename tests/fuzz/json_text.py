"""JSON as it should not be written: odd values, and text that is nearly JSON or in another encoding."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TypeAlias

from tests.fuzz.tape import Tape

Make: TypeAlias = Callable[[Tape], str]

TEXTS = (
    "Hello", "", " ", "\\ud800", "\\udfff\\ud800", "\\u0000", "<|im_end|>", "<|im_start|>system", "{{ 1 }}",
    "{% for %}", "\u2028", "\ufeff", "\u00e9", "\\u006dessages", "Unhitch-Mitigation: off", "\U0001f3e5", "\\n\\n",
    "data: x", "e\u0301", "a" * 300, "\\", "\t", "x-anthropic-billing-header: a",
)  # fmt: skip
PLAIN = ("null", "true", "false", "0", "1", '"1"', "[]", "{}", '"on"', "2", '""', "-1", "0.5", "7", '"none"', "[null]")
NUMBERS = (
    "NaN", "-Infinity", "Infinity", "1e400", "-0", "1e2", "0.1", "12345678901234567890123", "9" * 5000, "1E-400",
    "2147483648", "9223372036854775808", "1.", "01", "+1",
)  # fmt: skip
_DEEP = (("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"))
_DEPTHS = (1, 60, 100, 120, 127, 128, 129, 500, 1000, 3000, 50_000)
_TOKENS = re.compile(r'"(?:[^"\\]|\\.)*"|[-\w.+]+|[\[\]{},:]')
_ENCODINGS = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-8-sig", "utf-7", "cp500", "latin-1")


def text(tape: Tape) -> str:
    """A JSON string, quotes included."""
    how = tape.number(5)
    if how < 3:
        return f'"{tape.one(TEXTS)}"'
    if how < 5:
        return json.dumps(tape.text(), ensure_ascii=how == 3)
    return '"' + "".join(f"\\u{ord(each) & 0xFFFF:04x}" for each in tape.text()) + '"'


def scalar(tape: Tape) -> str:
    """A value without parts."""
    how = tape.number(9)
    if how < 5:
        return tape.one(PLAIN)
    if how < 8:
        return text(tape)
    return tape.one(NUMBERS) if how == 8 else str(tape.number(2**70) - 2**69)


def value(tape: Tape, depth: int = 2) -> str:
    """Any value."""
    how = tape.number(11)
    if how < 6 or not depth:
        return scalar(tape)
    if how == 11:
        return nested(tape) if tape.rarely(4) else "[]"
    if how % 2:
        return "[" + ",".join(tape.some(3, lambda inner: value(inner, depth - 1))) + "]"
    return "{" + ",".join(tape.some(3, lambda inner: f"{text(inner)}:{value(inner, depth - 1)}")) + "}"


def nested(tape: Tape) -> str:
    """Arrays and objects in one another, beyond what readers take."""
    (opening, closing), depth = tape.one(_DEEP), tape.one(_DEPTHS)
    return opening * depth + "1" + closing * (depth - tape.rarely(4))


def array(make: Make, most: int = 3) -> Make:
    """An array of a few."""
    return lambda tape: "[" + ",".join(tape.some(most, make)) + "]"


def either(*makes: Make) -> Make:
    """One of several."""
    return lambda tape: tape.one(makes)(tape)


def words(*options: str) -> Make:
    """One of several pieces of JSON."""
    return lambda tape: tape.one(options)


def obj(always: Mapping[str, Make], sometimes: Mapping[str, Make], most: int = 3) -> Make:
    """An object with all of `always`, and of `sometimes` a few, in any order and now and then twice."""
    names = [*sometimes, *always]
    makes = {**sometimes, **always}

    def more(tape: Tape) -> str:
        if tape.rarely(8):
            return f"{text(tape)}:{value(tape)}"
        name = tape.one(names)
        return f"{json.dumps(name)}: {makes[name](tape)}"

    def make(tape: Tape) -> str:
        members = [f"{json.dumps(name)}: {each(tape)}" for name, each in always.items()]
        members += tape.some(most, more)
        turn, space = tape.number(len(members)), tape.one(("", "", "", " ", "\n", "\r\n\t"))
        return space + "{" + f",{space}".join(members[turn:] + members[:turn]) + space + "}" + space

    return make


def mutated(tape: Tape, sound: str) -> str:
    """A sound text with one or two of its parts replaced, dropped, doubled or moved."""
    for _ in range(1 + tape.number(1)):
        tokens = list(_TOKENS.finditer(sound))
        if not tokens:
            return sound
        if not tape.rarely(5):  # else most are no JSON any more
            tokens = [each for each in tokens if each[0] not in "[]{},:"] or tokens
        token, other = tape.one(tokens), tape.one(tokens)
        how = tape.number(3)
        new = (scalar, value)[how](tape) if how < 2 else other[0] if how == 2 else tape.one(("", token[0] * 2))
        sound = sound[: token.start()] + new + sound[token.end() :]
    return sound


def encoded(tape: Tape, raw: str) -> bytes:
    """Bytes of a text: mostly UTF-8, and now and then damaged or in another encoding."""
    how, body = tape.number(19), raw.encode("utf-8", "surrogatepass")
    if how == 16:
        return raw.encode(tape.one(_ENCODINGS), "replace")
    if how == 17:
        return body + tape.one((b"x", b"{}", b"\0", b",", b"\xef\xbb\xbf", b"\n\n", body))
    if how == 18 and body:
        return body[: tape.number(len(body) - 1)]
    if how == 19 and body:
        at = tape.number(len(body) - 1)
        return body[:at] + tape.bytes(1 + tape.number(2)) + body[at + 1 :]
    return body
