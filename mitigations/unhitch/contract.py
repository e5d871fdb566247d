"""What a strategy class must declare before it can be registered."""

from __future__ import annotations

import inspect
import re
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from unhitch.errors import RegistryError
from unhitch.strategy import Parameters, Strategy

RESERVED_PARAMETERS = frozenset({"version", "tokens"})
"""Keys of `Unhitch-Applied` that are no parameters."""

_PLAIN_TYPES = (bool, int, float, str, NoneType)
_NAME = re.compile(r"[a-z][a-z0-9-]*")
_KEY = re.compile(r"[a-z][a-z0-9_]*")


def check_contract(strategy: Any) -> type[Strategy[Any]]:
    """The class itself, once everything that it must declare was found.

    Args:
        strategy: What was registered, or what an entry point led to.

    Raises:
        RegistryError: It is no concrete subclass of `Strategy`, its name, version, summary, source or parameters are
            missing or wrong, or a parameter has no form in a structured header, no description or a reserved name.
    """
    if not (inspect.isclass(strategy) and issubclass(strategy, Strategy)):
        raise RegistryError(f"{strategy!r} is no subclass of unhitch.strategy.Strategy.")
    if inspect.isabstract(strategy):
        missing = ", ".join(sorted(strategy.__abstractmethods__))
        raise RegistryError(f"{strategy.__qualname__} does not define {missing}.")
    _check_name(strategy)
    _check_version(strategy)
    for attribute in ("summary", "source"):
        text = getattr(strategy, attribute, None)
        if not isinstance(text, str) or not text or "\n" in text:
            raise RegistryError(f"strategy `{strategy.name}`: `{attribute}` is {text!r}; one line of text is needed.")
    _check_parameters(strategy)
    return strategy


def choices(annotation: Any) -> tuple[str, ...]:
    """What a parameter can be, where it is a choice; otherwise empty."""
    return tuple(value for member in _members(annotation) for value in _literals(member))


def _check_name(strategy: type[Strategy[Any]]) -> None:
    name = getattr(strategy, "name", None)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise RegistryError(
            f"{strategy.__qualname__}: `name` is {name!r}; lower-case letters, digits and hyphens, a letter first, are "
            "needed, since the name is a word in a header."
        )


def _check_version(strategy: type[Strategy[Any]]) -> None:
    version = getattr(strategy, "version", None)
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise RegistryError(
            f"strategy `{strategy.name}`: `version` is {version!r}; an integer of at least 1 is needed."
        )


def _check_parameters(strategy: type[Strategy[Any]]) -> None:
    parameters = strategy.parameters
    if not (inspect.isclass(parameters) and issubclass(parameters, Parameters)):
        raise RegistryError(
            f"strategy `{strategy.name}`: `parameters` is {parameters!r}; a subclass of unhitch.strategy.Parameters is "
            "needed."
        )
    for key, info in parameters.model_fields.items():
        where = f"strategy `{strategy.name}`, parameter `{key}`"
        if not _KEY.fullmatch(key) or key in RESERVED_PARAMETERS:
            raise RegistryError(
                f"{where}: the name is reserved ({', '.join(sorted(RESERVED_PARAMETERS))}) or no key of a header "
                "(lower-case letters, digits, underscores)."
            )
        if not info.description:
            raise RegistryError(f"{where}: a description is missing.")
        if not all(member in _PLAIN_TYPES or _literals(member) for member in _members(info.annotation)):
            raise RegistryError(
                f"{where}: the type {info.annotation!r} has no form in a header; use bool, int, float, str or a "
                "Literal of strings, optionally with None."
            )


def _members(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _literals(annotation: Any) -> tuple[str, ...]:
    values = get_args(annotation) if get_origin(annotation) is Literal else ()
    return values if all(isinstance(value, str) for value in values) else ()
