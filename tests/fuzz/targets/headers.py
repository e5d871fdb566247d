"""Headers of ours, well-formed and not, through the whole application."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from tests.fuzz.engine import SECRET, serving
from tests.fuzz.front import HELLO, POLICIES, Answer, Headers, fronted, settle, unedited
from tests.fuzz.running import Check
from tests.fuzz.tape import Tape

NAMES = (b"unhitch-mitigation", b"unhitch-policy", b"unhitch-session")

# `off`, with parameters of its own or none, and nothing else; `parse_mitigation` takes a string for a word, too.
_OFF = re.compile(r'[ \t]*("off"|off)(;[^,"]*)?([ \t]*,[ \t]*("off"|off)(;[^,"]*)?)*[ \t]*')


@dataclass(frozen=True)
class Asking:
    """A request with headers of ours.

    Args:
        policy: What it falls under.
        path: A generating route.
        stream: Whether a stream is asked for.
        headers: Names and values.
    """

    policy: str
    path: str
    stream: bool
    headers: Headers


_NAMES = (
    "off", "perturb", "system", "bare", "recase", "respace", "pool", "prefix-state", "postfix-state", "best-of", "Off",
    "OFF", "none",
)  # fmt: skip
_KEYS = (
    "seed", "edits", "neighbours", "span", "mode", "text", "preset", "version", "tokens", "n", "layers", "mix", "x",
)  # fmt: skip
_VALUES = (
    "1", '"x"', "?0", "?1", "word", ":aGk=:", '%"f%c3%bcr"', "@1", "(a b)", "", '"\\"', "prefix", "-1", "0.5", "1.0000",
    "9" * 16, "99", "replace", "drop", '"\xe9"',
)  # fmt: skip
_WHOLE = (b"off", b"OFF", b" off ", b"off, off", b'"off"', b"plain", b"locked", b"", b",", b"\xff", b"off;x", b"off,")
_LET_THROUGH = frozenset({*range(0x20, 0x7F), *range(0x80, 0x100), 0x09})
"""Bytes of a header's value that the listener takes; on all others it breaks the request off."""


def _member(tape: Tape) -> str:
    name = tape.one(_NAMES)
    given = tape.some(2, lambda inner: f";{inner.one(_KEYS)}{inner.one(('=', '=', '', ' = '))}{inner.one(_VALUES)}")
    return "".join([f'"{name}"' if tape.rarely(5) else name, *given])


def _value(tape: Tape) -> bytes:
    how = tape.number(9)
    if how < 4:
        separator = tape.one((",", ", ", " ,\t", ",,", ";", " "))
        return separator.join(tape.some(3, _member, 1)).encode("latin-1")
    if how < 8:
        return tape.one(_WHOLE)
    if how == 8:
        return bytes(each for each in tape.bytes(tape.number(30)) if each in _LET_THROUGH)
    return b"perturb;x=" + b"a" * tape.number(20_000)


def _line(tape: Tape) -> tuple[bytes, bytes]:
    name = tape.one(NAMES)
    if tape.rarely(5):
        other = (
            b"unhitch-",
            b"unhitch-applied",
            b"unhitch_mitigation",
            b"connection",
            b"x-http-method-override",
            b"te",
        )
        return tape.one(other), tape.one((name, _value(tape)))
    return tape.one((name, name, name.title(), name.upper())), _value(tape)


def make(tape: Tape) -> Asking:
    """A request with a few lines of header."""
    lines = tape.some(4, _line, 1) if tape.rarely(2) else [_line(tape)]
    return Asking(tape.one(sorted(POLICIES)), tape.one(sorted(HELLO)), tape.rarely(2), lines)


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """One proxy for each policy, before one engine."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(serving())
        fronts = {name: await stack.enter_async_context(fronted(engine, name)) for name in POLICIES}

        async def check(asking: Asking) -> str:
            body = json.dumps({**HELLO[asking.path], "stream": asking.stream}).encode()
            answer, came = await fronts[asking.policy].ask("POST", asking.path.encode(), asking.headers, [body])
            settle(answer, asking.path)
            for request in came:
                ours = [name for name, _ in request.headers if name.startswith(b"unhitch-")]
                assert not ours, f"{ours} went on to the engine"
            bad = unedited(came, marked=asking.policy == "locked")
            if bad:
                assert may_be_off(asking), f"an unedited request reached the engine: {bad}"
                return "off, as it may be asked for"
            check_answer(answer)
            return f"{answer.status}"

        yield check


def check_answer(answer: Answer) -> None:
    """Sees that a good answer is a mitigated one, and says so."""
    assert SECRET.encode() not in answer.body, answer.body
    if answer.status == 200:
        assert answer.header("unhitch-applied") != "off", answer.headers


def may_be_off(asking: Asking) -> bool:
    """Whether the headers ask for nothing to be done, in the one way in which they may."""
    own: dict[bytes, list[str]] = {}
    for name, value in asking.headers:
        own.setdefault(name.lower(), []).append(value.decode("latin-1"))
    if asking.policy != "free" or not set(NAMES[:2]) & set(own):
        return False
    if NAMES[0] in own:
        return bool(_OFF.fullmatch(", ".join(own[NAMES[0]])))
    return ", ".join(own[NAMES[1]]).strip(" \t") in ("plain", '"plain"')
