"""Asks a control route of a running proxy."""

from __future__ import annotations

import os
from typing import Any

from unhitch.errors import EngineError, EngineUnavailable
from unhitch_server.access.control import SETTING

_SECONDS = 60.0
"""A proxy may have to ask its engine first."""

_LOCKED = (401, 403)


def listed(url: str, name: str, api_key: str = "") -> list[dict[str, Any]]:
    """The entries that a control route lists. Blocks until they came.

    The operator's key is taken from the environment.

    Args:
        url: The proxy's base URL, without /v1.
        name: Of the route, below /unhitch/v1/.
        api_key: Sent where the environment has no operator's key.

    Raises:
        EngineUnavailable: Nobody answers there.
        EngineError: What answers is no proxy of unhitch's, or wants another key.
    """
    import httpx

    route = f"{url.rstrip('/')}/unhitch/v1/{name}"
    key = os.environ.get(SETTING) or api_key
    try:
        answer = httpx.get(
            route, headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=_SECONDS, trust_env=False
        )
        if answer.status_code in _LOCKED:
            raise EngineError(
                f"{route} answered {answer.status_code}: set {SETTING} to the operator's key, as the proxy has it."
            )
        data: list[dict[str, Any]] = answer.raise_for_status().json()["data"]
    except (httpx.TransportError, httpx.InvalidURL) as error:
        raise EngineUnavailable(f"no proxy could be asked at {url}: {error}") from error
    except (httpx.HTTPStatusError, ValueError, LookupError, TypeError) as error:
        raise EngineError(f"{route} answered no list of {name}; is unhitch's proxy there? ({error})") from error
    return data
