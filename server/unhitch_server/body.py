"""A request's body, decoded."""

from __future__ import annotations

import json
from typing import Any

from unhitch.errors import InvalidBody
from unhitch_server import splice


def fields_of(body: bytes) -> dict[str, Any] | None:
    """The members of a JSON body; None where it is no JSON object. Blocks while it decodes.

    It is read as the engine reads it: of members named twice the last counts, and UTF-16 and UTF-32 are JSON, too.

    Args:
        body: Of any route.
    """
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return fields if isinstance(fields, dict) else None


def model_of(fields: dict[str, Any] | None) -> str | None:
    """The model that a body names; None where it names none."""
    found = (fields or {}).get("model")
    return found if isinstance(found, str) else None


def text_of(
    body: bytes, fault: str = "the body is not in UTF-8, as JSON has to be", *, param: str | None = None
) -> str:
    """A body that is to be edited, as text: it goes on in UTF-8, so it has to come in it.

    Args:
        body: Of any route.
        fault: What the error says where it is in another encoding.
        param: The member that the error names.

    Raises:
        InvalidBody: It is not in UTF-8.
    """
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidBody(f"{fault}: {error}", param=param) from error


def renamed(body: bytes, model: str) -> bytes:
    """The body with another model named in it, and nothing else changed.

    Args:
        body: A JSON object that names a model.
        model: What the engine calls it.

    Raises:
        InvalidBody: It is not in UTF-8.
    """
    text = text_of(body, "an alias of a model takes a body in UTF-8", param="model")
    return splice.put(text, {"model": json.dumps(model)}).encode("utf-8")
