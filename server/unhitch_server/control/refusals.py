"""The errors of the proxy's own routes, as their OpenAPI document has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field

CONTROL_KEY = (401, 403)
"""Of every control route: the control key is missing or wrong, or there is none while clients need keys."""

ENGINE = (502, 503, 504)
"""Of routes that ask the engine: it answers what cannot be used, is not there, or takes too long."""


class Problem(BaseModel):
    """What went wrong, as OpenAI's clients read it."""

    message: str = Field(description="What was received, what is allowed, and what to do.")
    type: str = Field(description="The kind of error, such as `invalid_request_error`.")
    param: str | None = Field(description="The header, field or parameter at fault, if there is one.")
    code: str = Field(description="The error's name, such as `policy_locked`.")


class Refusal(BaseModel):
    """The body of every error."""

    error: Problem


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers with an error that a route may give.

    Args:
        statuses: HTTP statuses.
    """
    return {status: {"model": Refusal, "description": HTTPStatus(status).phrase} for status in statuses}
