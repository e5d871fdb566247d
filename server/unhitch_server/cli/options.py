"""Options that several commands share, and the settings they make."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from unhitch.errors import CheckpointError, InvalidRequest
from unhitch_server.config import Config

Port = Annotated[int, typer.Option(envvar="UNHITCH_PORT", min=0, max=65535, help="Port to listen on.")]
TemplateKwargs = Annotated[
    str,
    typer.Option(
        "--default-chat-template-kwargs",
        envvar="UNHITCH_DEFAULT_CHAT_TEMPLATE_KWARGS",
        metavar="JSON",
        help="vLLM's option of that name, if it has one: variables that every rendering gets.",
    ),
]
Plugins = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-plugin",
        envvar="UNHITCH_ALLOW_PLUGIN",
        metavar="NAME",
        help="An installed strategy of a third party that may be loaded. Can be repeated.",
    ),
]
Evidence = Annotated[
    list[Path] | None,
    typer.Option(
        envvar="UNHITCH_EVIDENCE",
        metavar="DIR",
        help="Folder of scorecards and pools, as `unhitch validate` and `unhitch tune` write them. Can be repeated.",
    ),
]


def pairs(values: Sequence[str] | None, option: str) -> dict[str, str]:
    """`NAME=VALUE` options as a dictionary.

    Raises:
        InvalidRequest: One has no `=`, or a name stands twice.
    """
    found: dict[str, str] = {}
    for value in values or ():
        name, equals, rest = value.partition("=")
        if not (name and equals and rest):
            raise InvalidRequest(f"{option} {value!r} is not of the form NAME=VALUE")
        if name in found:
            raise InvalidRequest(f"{option} names {name!r} twice")
        found[name] = rest
    return found


def folders(evidence: Sequence[Path] | None) -> tuple[str, ...]:
    """The folders of evidence, as settings have them."""
    return tuple(map(str, evidence or ()))


def template_kwargs(value: str) -> dict[str, Any]:
    """The variables of --default-chat-template-kwargs.

    Raises:
        InvalidRequest: It is no JSON object.
    """
    try:
        found = json.loads(value)
    except ValueError as error:
        raise InvalidRequest(f"--default-chat-template-kwargs {value!r} is no JSON: {error}") from error
    if not isinstance(found, dict):
        raise InvalidRequest(f"--default-chat-template-kwargs {value!r} is no JSON object")
    return found


def template_source(path: str | None) -> str | None:
    """The source of a template file.

    Raises:
        CheckpointError: It cannot be read.
    """
    if path is None:
        return None
    try:
        return Path(path).read_text("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the chat template {path!r} cannot be read: {error}") from error


def settings(**values: object) -> Config:
    """The proxy's settings.

    Raises:
        InvalidRequest: A value is out of its range; the message names it.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors())
        raise InvalidRequest(f"the settings are not valid: {faults}") from error
