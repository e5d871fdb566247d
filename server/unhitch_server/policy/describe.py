"""From what pydantic found in a document to sentences that name the value and what is allowed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from unhitch.binding import suggestion
from unhitch_server.policy.errors import Fault
from unhitch_server.policy.places import Path, Places

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_SHOWN_CHARACTERS = 80
_KINDS = {
    "string_type": "text is due (put it in quotes, where it looks like something else)",
    "dict_type": "keys with values are due",
    "mapping_type": "keys with values are due",
    "model_type": "keys with values are due",
    "tuple_type": "a list is due, such as [a, b]",
    "float_type": "a number is due",
    "int_type": "a whole number is due",
}


def faults_of(error: ValidationError, model: type[BaseModel], places: Places) -> list[Fault]:
    """All that is wrong, in the order in which it was found.

    Args:
        error: What validation of `model` raised.
        model: Gives the names of the fields that there are.
        places: Where the parts stand.
    """
    found = error.errors(include_url=False)
    return [_fault(each, model, places) for each in found if not _follows(each, found)]


def _follows(error: ErrorDetails, found: Sequence[ErrorDetails]) -> bool:
    """Whether a container is too short only because its members were refused."""
    path = error["loc"]
    return error["type"] == "too_short" and any(
        len(each["loc"]) > len(path) and each["loc"][: len(path)] == path for each in found
    )


def _fault(error: ErrorDetails, model: type[BaseModel], places: Places) -> Fault:
    path = tuple(part for part in error["loc"] if part != "[key]")
    if error["type"] == "extra_forbidden":
        return places.fault(path, _unknown(str(path[-1]), _fields(model, path[:-1])))
    return places.fault(path, _sentence(error))


def _sentence(error: ErrorDetails) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "missing":
        return "is needed, and is not there"
    if kind == "value_error":
        return str(context["error"])
    if kind == "too_short":
        return f"at least {context['min_length']} is needed, and there is none"
    if kind == "literal_error":
        return f"{shown(error['input'])} is not one of {context['expected']}"
    message = _KINDS.get(kind) or error["msg"][:1].lower() + error["msg"][1:]
    return f"{shown(error['input'])} was given: {message}"


def _unknown(key: str, allowed: Sequence[str]) -> str:
    return f"there is no such field. {suggestion(key, list(allowed))}Allowed: {', '.join(allowed)}"


def _fields(model: type[BaseModel], path: Path) -> list[str]:
    """The fields of the part of a model at a path."""
    part: Any = model
    for step in path:
        part = _part(part.model_fields[step].annotation if _is_model(part) else part, inner=not _is_model(part))
    return list(part.model_fields) if _is_model(part) else []


def _part(annotation: Any, *, inner: bool) -> Any:
    """A type without `None` beside it and, on demand, what a container of that type holds."""
    members = [member for member in get_args(annotation) if member not in (type(None), ...)]
    if _is_model(annotation) or not members:
        return annotation
    return members[-1] if inner or type(None) in get_args(annotation) else annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def shown(value: object) -> str:
    """A value that was received, as a message repeats it."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[: _SHOWN_CHARACTERS - 3]}..."
