"""From what somebody asked of one strategy to validated parameters, with messages that name the value and the range."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from math import isfinite
from typing import Any

from pydantic import ValidationError

from unhitch.contract import RESERVED_PARAMETERS, choices
from unhitch.draw import MAX_SEED
from unhitch.errors import BadParameter
from unhitch.headers import MAX_TEXT_BYTES, Asked, Value, text_bytes
from unhitch.mitigation import Step
from unhitch.strategy import Parameters, Strategy

DECIMAL_PLACES = 3
"""Digits after the point that a structured header keeps (RFC 9651, 3.3.2)."""
_MAX_DECIMAL = 10**12
_SHOWN_CHARACTERS = 80
_BOUNDS = {
    "minimum": "of at least",
    "exclusiveMinimum": "above",
    "maximum": "of at most",
    "exclusiveMaximum": "below",
}


def bind_one(strategy: Strategy[Any], asked: Asked) -> Step:
    """The step that was asked of a strategy.

    Args:
        strategy: The one that `asked` names.
        asked: From a header, a policy or an earlier answer's `Unhitch-Applied`.

    Raises:
        BadParameter: An unknown parameter, a value out of its range or of another kind, or a `version` that is not the
            strategy's.
    """
    given = {key: value for key, value in asked.parameters.items() if key not in RESERVED_PARAMETERS}
    _check_version(strategy, asked.parameters.get("version"))
    known = {key: value for key, value in given.items() if key in strategy.parameters.model_fields}
    parameters = _validated(strategy, known)
    flags = strategy.flags(parameters)
    for key, value in given.items():
        if key not in known and not (key in flags and value is True):
            raise _unknown(strategy, key)
    return Step(strategy, parameters, _tokens(strategy, asked.parameters.get("tokens")))


def suggestion(name: str, allowed: list[str]) -> str:
    """`Did you mean ...? ` with names near to a misspelt one, or nothing."""
    near = get_close_matches(name, allowed, n=3, cutoff=0.5)
    return f"Did you mean {' or '.join(f'`{match}`' for match in near)}? " if near else ""


def _check_version(strategy: Strategy[Any], version: Value | None) -> None:
    if version is not None and (version is True or version != strategy.version):
        raise BadParameter(
            f"`{strategy.name};version={_shown(version)}` was asked for, and version {strategy.version} is "
            "installed: the same parameters may give another edit. Install the other version of unhitch, or leave "
            "`version` out.",
            param="version",
        )


def _tokens(strategy: Strategy[Any], tokens: Value | None) -> int | None:
    if tokens is None:
        return None
    if not isinstance(tokens, int) or isinstance(tokens, bool) or tokens < 0:
        raise BadParameter(
            f"`{strategy.name};tokens={_shown(tokens)}`: the number of changed tokens is an integer of at least 0, as "
            "an earlier answer gave it; leave it out otherwise.",
            param="tokens",
        )
    return tokens


def _unknown(strategy: Strategy[Any], key: str) -> BadParameter:
    allowed = list(strategy.parameters.model_fields)
    has = f"It has {', '.join(f'`{name}`' for name in allowed)}." if allowed else "It has none."
    return BadParameter(f"`{strategy.name}` has no parameter `{key}`. {suggestion(key, allowed)}{has}", param=key)


def _validated(strategy: Strategy[Any], given: Mapping[str, Value]) -> Parameters:
    for key, value in given.items():
        _check_representable(strategy, key, value)
    try:
        return strategy.parameters.model_validate(dict(given))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if not first["loc"]:
            problem = str(first.get("ctx", {}).get("error", first["msg"]))
            raise BadParameter(f"`{strategy.name}`: {problem}", param=strategy.name) from error
        key = str(first["loc"][0])
        if first["type"] == "missing":
            raise BadParameter(f"`{strategy.name}` needs `{key}`: {_allowed(strategy, key)}.", param=key) from error
        allowed = str(first["ctx"]["error"]) if first["type"] == "value_error" else _allowed(strategy, key)
        raise BadParameter(f"`{strategy.name};{key}={_shown(first['input'])}`: {allowed}.", param=key) from error


def _check_representable(strategy: Strategy[Any], key: str, value: Value) -> None:
    """A value from JSON may have no form in a header, and then a receipt could not give it."""
    problem = None
    if isinstance(value, float) and not (isfinite(value) and abs(value) < _MAX_DECIMAL and value == round(value, 3)):
        problem = f"a decimal has at most 12 digits before and {DECIMAL_PLACES} after the point"
    elif isinstance(value, int) and abs(value) > MAX_SEED:
        problem = "an integer has at most 15 digits"
    elif isinstance(value, str) and text_bytes(value) > MAX_TEXT_BYTES:
        problem = f"the text takes {text_bytes(value)} bytes in a header; at most {MAX_TEXT_BYTES} are allowed"
    elif isinstance(value, str) and any("\ud800" <= character <= "\udfff" for character in value):
        problem = "the text holds half a surrogate pair, which is no character"
    if problem:
        raise BadParameter(f"`{strategy.name};{key}={_shown(value)}`: {problem}.", param=key)


def _allowed(strategy: Strategy[Any], key: str) -> str:
    info = strategy.parameters.model_fields[key]
    if named := choices(info.annotation):
        return f"`{key}` is one of {', '.join(named)}"
    schema = strategy.parameters.model_json_schema()["properties"][key]
    forms = [form for form in schema.get("anyOf", [schema]) if form.get("type") != "null"]
    return " or ".join(_described(key, form) for form in forms)


def _described(key: str, form: Mapping[str, Any]) -> str:
    kinds = {"integer": "an integer", "number": "a number", "boolean": "?1 (true) or ?0 (false)", "string": "a string"}
    text = f"`{key}` is {kinds.get(str(form.get('type')), 'a value')}"
    if "minimum" in form and "maximum" in form:
        return f"{text} from {form['minimum']} to {form['maximum']}"
    bounds = [f"{words} {form[bound]}" for bound, words in _BOUNDS.items() if bound in form]
    if bounds:
        return f"{text} {' and '.join(bounds)}"
    if "minLength" in form or "maxLength" in form:
        return f"{text} of {form.get('minLength', 0)} to {form.get('maxLength', 'any number of')} characters"
    return text


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "?1" if value else "?0"
    text = f'"{value}"' if isinstance(value, str) else str(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
