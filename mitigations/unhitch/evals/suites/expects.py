"""A little language for what a usable answer is, where a program can check it.

| condition | the answer |
| --- | --- |
| `json` | is a JSON object or list; a code fence around it is let pass |
| `json:KEY,KEY` | is a JSON object that has these keys |
| `tool:NAME` | calls the tool of that name, with arguments that are a JSON object |
| `no-tool` | calls no tool, and says something |
| `contains:TEXT` | has the text in it, in any case |
| `lacks:TEXT` | says something, and has not the text in it, in any case |
| `starts:TEXT`, `ends:TEXT` | starts or ends with the text, in this very case |
| `max-words:N`, `min-words:N` | has at most, or at least, so many words, and one at least |
| `lines:N` | has so many lines that are not blank |
| `case:upper`, `case:lower` | has letters, all of this case |
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from unhitch.errors import InvalidSuite

_FENCE = re.compile(r"\A```[a-zA-Z0-9]*\n(.*)\n```\Z", re.DOTALL)
_NUMBER = re.compile(r"[1-9][0-9]{0,5}")
_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def validate(expects: str) -> None:
    """Makes sure that a condition is one that `check` knows.

    Raises:
        InvalidSuite: It is not; the message lists what is allowed.
    """
    name, argument = _split(expects)
    if name in _BARE and argument is None:
        return
    form = _ARGUMENTS.get(name)
    if form is None or argument is None or not form(argument):
        raise InvalidSuite(f"The condition {expects!r} is none that can be checked; allowed are {', '.join(_LISTED)}.")


def check(expects: str, text: str, tool_calls: Sequence[Mapping[str, Any]] = ()) -> bool:
    """Whether an answer meets a condition; white space around the answer does not count.

    Args:
        expects: The condition; an empty one is met by every answer.
        text: What the model said; empty where it only called tools.
        tool_calls: As the API has them (`function` with `name` and `arguments`), or name and arguments alone.

    Raises:
        InvalidSuite: The condition is none.
    """
    if not expects:
        return True
    validate(expects)
    name, argument = _split(expects)
    if name == "tool":
        return any(_calls(call, argument or "") for call in tool_calls)
    if name == "no-tool":
        return not tool_calls and bool(text.strip())
    return _CHECKS[name](text.strip(), argument or "")


def _split(expects: str) -> tuple[str, str | None]:
    name, colon, argument = expects.partition(":")
    return name, argument if colon else None


def _calls(call: Mapping[str, Any], name: str) -> bool:
    function = call.get("function", call)
    if not isinstance(function, Mapping) or function.get("name") != name:
        return False
    arguments = function.get("arguments")
    return isinstance(_parsed(arguments) if isinstance(arguments, str) else arguments, Mapping)


def _parsed(text: str) -> Any:
    """What a text is as JSON, or None; NaN and infinities are no JSON."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(constant)


def _json(text: str, keys: str) -> bool:
    fenced = _FENCE.match(text)
    value = _parsed(fenced[1] if fenced else text)
    if not keys:
        return isinstance(value, dict | list)
    return isinstance(value, dict) and all(key.strip() in value for key in keys.split(","))


def _in_case(text: str, case: str) -> bool:
    return text.isupper() if case == "upper" else text.islower()


def _is_number(argument: str) -> bool:
    return _NUMBER.fullmatch(argument) is not None


def _is_name(argument: str) -> bool:
    return _NAME.fullmatch(argument) is not None


def _is_text(argument: str) -> bool:
    return argument.strip() == argument != ""


def _are_names(argument: str) -> bool:
    return all(key.strip() for key in argument.split(","))


_CHECKS: Mapping[str, Callable[[str, str], bool]] = {
    "json": _json,
    "contains": lambda text, words: words.lower() in text.lower(),
    "lacks": lambda text, words: bool(text) and words.lower() not in text.lower(),
    "starts": lambda text, words: text.startswith(words),
    "ends": lambda text, words: text.endswith(words),
    "max-words": lambda text, count: 0 < len(text.split()) <= int(count),
    "min-words": lambda text, count: len(text.split()) >= int(count),
    "lines": lambda text, count: sum(bool(line.strip()) for line in text.splitlines()) == int(count),
    "case": _in_case,
}
_ARGUMENTS: Mapping[str, Callable[[str], bool]] = {
    "json": _are_names,
    "tool": _is_name,
    "contains": _is_text,
    "lacks": _is_text,
    "starts": _is_text,
    "ends": _is_text,
    "max-words": _is_number,
    "min-words": _is_number,
    "lines": _is_number,
    "case": lambda case: case in ("upper", "lower"),
}
_BARE = ("json", "no-tool")
_LISTED = (
    "json", "json:KEY,KEY", "tool:NAME", "no-tool", "contains:TEXT", "lacks:TEXT", "starts:TEXT", "ends:TEXT",
    "max-words:N", "min-words:N", "lines:N", "case:upper", "case:lower",
)  # fmt: skip
