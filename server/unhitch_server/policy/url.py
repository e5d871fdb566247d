"""URLs of engines, as settings and policies have them."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator
from yarl import URL


def _checked(value: str) -> str:
    if "@" in value:  # not repeated, since it may hold a password
        raise ValueError("the URL has a user or a password; keys stand in the environment")
    try:
        url = URL(value)
        sound = url.scheme in ("http", "https") and url.host and url.port and not (url.query_string or url.fragment)
    except ValueError as error:
        raise ValueError(f"{value!r} is no URL: {error}") from error
    if not sound or not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError(f"{value!r} is no http:// or https:// URL of a host, without query and user")
    return value.rstrip("/")


EngineUrl = Annotated[str, AfterValidator(_checked)]
"""Base URL of an engine, without /v1 and without a slash at its end."""
