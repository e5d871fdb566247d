"""The policy file, and the variables that set its values: any text gives policies, or the lines that are at fault."""

from __future__ import annotations

import contextlib
import json
import logging
import re
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.fuzz import json_text as js
from tests.fuzz.json_text import Make, array, either, obj, scalar, value, words
from tests.fuzz.running import Check
from tests.fuzz.tape import Tape
from unhitch.errors import InvalidRequest
from unhitch.registry import Registry
from unhitch_server.policy.errors import InvalidPolicy
from unhitch_server.policy.reading import PREFIX
from unhitch_server.policy.reading import read as read_policy
from unhitch_server.policy.reload import Policies
from unhitch_server.policy.table import PolicyTable

ENGINE = "http://127.0.0.1:9"

SOUND = """\
default: strict
models:
  finance-safe: {model: mini-finance, policy: strict}
policies:
  strict:  # what all get
    mitigation: perturb;edits=10
    clients_may: [seed, off]
    on_failure: closed
    rollout: {percent: 50, otherwise: none}
    shadow: {percent: 1.5, mitigation: "bare"}
  none: {mitigation: 'off', clients_may_name: [strict]}
rules:
  - {keys: [team-a, "b*"], policy: none}
  - routes: [/v1/completions]
    models: [mini-*]
    policy: strict
"""
_PIECES = (
    "off", "no", "&a", "*a", "<<: ", "!!int", "!!python/object:os.system ", "---\n", "...\n", "\t", "|\n", ">-\n", "? ",
    "- ", ": ", "{", "}", "[", "]", '"', "'", "#", "%YAML 9.9\n", "%TAG ! x\n", "\0", "\x85", "\u2028", "\ufeff", "\n",
    "\r", "1e999", ".inf", ".nan", "0x1F", "0o7", "1:30", "2001-01-01", "~", "null", '"\\xff"', '"\\U0010ffff"',
    '"\\ud800"', '"\\UFFFFFFFF"', "\U0001f3e5", "@", "`", "9" * 400, "  ", "a: {a: " * 14, "[" * 14, "\\",
)  # fmt: skip
_NAMES = ("strict", "none", "x", "", "strict*", " a", "a" * 201, "\u00e9", "off", "1", "y")
_WORD = re.compile(r"[\w.-]+")
_PATHS = (
    "policies__strict__on_failure", "rules__0__policy", "rules__9__policy", "default", "__", "", "policies", "rules",
    "models__finance_safe__model", "policies__strict__clients_may__0", "x__y__z", "__".join("a" * 14), "upstreams",
    "rules__-1__policy", "rules__\u0661__policy", "policies__strict__rollout__percent",
)  # fmt: skip


@dataclass(frozen=True)
class Written:
    """A policy file and its surroundings.

    Args:
        raw: The file.
        environ: Variables.
    """

    raw: bytes
    environ: Mapping[str, str] = field(default_factory=dict)


def _structures() -> Make:
    name = words(*map(json.dumps, _NAMES))
    mitigation = words(
        *(json.dumps(each) for each in ("off", "perturb;edits=1", "nope", "", "perturb;edits=-1", "bare, x"))
    )
    percent = words("0", "100", "50.5", "101", "-1", "1e400", '"5"', "NaN")
    policy = obj(
        {"mitigation": mitigation},
        {
            "clients_may": either(array(words('"seed"', '"off"', '"choose"', '"all"')), scalar),
            "clients_may_name": either(array(name), scalar),
            "on_failure": words('"open"', '"closed"', "null"),
            "require_validated": words('"no"', '"mark"', "false"),
            "unrecognised_prompts": words('"pass"', '"refuse"'),
            "rollout": either(obj({"percent": percent, "otherwise": name}, {"x": value}, 1), scalar),
            "shadow": either(obj({"percent": percent, "mitigation": mitigation}, {}, 1), scalar),
        },
    )
    rule = obj({"policy": name}, dict.fromkeys(("keys", "models", "routes"), either(array(name), scalar)), 2)
    alias = obj({"model": name}, {"policy": name, "upstream": name}, 2)
    engines = obj({"urls": array(words(f'"{ENGINE}"', '"ftp://a"', '"http://a:b@c"', '"http://[::1"', "1"))}, {}, 1)

    def named(make: Make) -> Make:
        return lambda tape: "{" + ", ".join(tape.some(3, lambda one: f"{name(one)}: {make(one)}")) + "}"

    def first(tape: Tape) -> str:
        return '{"strict": ' + policy(tape) + "}"

    return obj(
        {"default": words('"strict"', '"strict"', '"none"'), "policies": either(first, first, named(policy))},
        {
            "rules": either(array(rule), scalar),
            "models": either(named(alias), scalar),
            "upstreams": either(named(engines), scalar),
            "default_upstream": name,
            "canaries": value,
        },
    )


_STRUCTURE = _structures()


def make(tape: Tape) -> Written:
    """A file: the sound one, changed in places, or of any structure, or any bytes; at times with variables."""
    how = tape.number(9)
    if how < 4:
        text = SOUND
        for _ in range(1 + tape.rarely(4)):
            text = _changed(tape, text)
        raw = text.encode("utf-8", "surrogatepass")
    elif how < 8:
        raw = js.encoded(tape, _STRUCTURE(tape))
    else:
        raw = tape.bytes(tape.number(60)) if how == 9 else SOUND.encode()
    environ = {}
    if how == 8 or tape.rarely(4):
        pieces = (*_PIECES, "open", "none", "[seed]", "{a: 1}", "50")
        environ = {PREFIX + tape.one(_PATHS): tape.one(pieces) for _ in range(1 + tape.number(1))}
    return Written(raw, environ)


def _changed(tape: Tape, text: str) -> str:
    if tape.rarely(2):
        at = tape.number(len(text))
        return text[:at] + tape.one(_PIECES) + text[at + tape.number(3) :]
    word, other = (
        tape.one(list(_WORD.finditer(text))),
        tape.one((*_NAMES, *_WORD.findall(text), "seed", "choose", "0.5")),
    )
    return f"{text[: word.start()]}{other}{text[word.end() :]}"


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """Policies that are in force, and read their file again for each input."""
    logging.getLogger("unhitch_server").setLevel(logging.CRITICAL + 1)
    registry = Registry.load(())
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "policy.yaml"
        file.write_text(SOUND)
        policies = Policies.of_file(file, registry, upstream=ENGINE)

        async def check(written: Written) -> str:
            table = _table(written, registry)
            file.write_bytes(written.raw)
            before = policies.current
            if policies.reload():
                assert policies.problem is None
                assert policies.current is not before
                assert written.environ or table is not None
            else:
                assert policies.current is before
                assert policies.problem is not None
                assert written.environ or table is None
            return "refused" if table is None else "policies"

        yield check


def _table(written: Written, registry: Registry) -> PolicyTable | None:
    try:
        reading = read_policy(written.raw, "policy.yaml", upstream=ENGINE, environ=written.environ)
        table = PolicyTable(reading.document, registry, reading.places)
    except InvalidPolicy as error:
        _check_faults(error, written)
        return None
    for headers in ([], [(b"unhitch-mitigation", b"off")], [(b"unhitch-policy", b"none"), (b"unhitch-session", b"a")]):
        with contextlib.suppress(InvalidRequest):
            table.decide(headers, key="b1", model="finance-safe", route="/v1/completions")
    return table


def _check_faults(found: InvalidPolicy, written: Written) -> None:
    """Sees that each fault has a line that there is, or a variable."""
    lines = len(re.split(rb"\r\n|\r|\n|\xc2\x85|\xe2\x80[\xa8\xa9]", written.raw))
    assert found.faults
    for fault in found.faults:
        assert fault.message, fault
        place = re.fullmatch(r"policy\.yaml:([0-9]+)", fault.where)
        assert (place and 1 <= int(place[1]) <= lines + 1) or fault.where in written.environ, fault
