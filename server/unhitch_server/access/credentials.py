"""The key that a request presents, and what goes to the engine in its place."""

from __future__ import annotations

from collections.abc import Iterable

from unhitch.errors import InvalidKey
from unhitch_server.upstream.connection import Headers

CREDENTIALS = frozenset({b"authorization", b"x-api-key", b"api-key"})
"""Headers in which the clients of OpenAI, Anthropic and Azure send keys; the last is not read, and not forwarded."""


def presented(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """The key of `Authorization: Bearer` or `x-api-key`; None where neither came.

    Args:
        headers: Raw header lines; names in any case.

    Raises:
        InvalidKey: Authorization has another form, or two different keys came.
    """
    found: set[bytes] = set()
    for name, value in headers:
        if name.lower() == b"x-api-key":
            found.add(value.strip())
        elif name.lower() == b"authorization":
            scheme, *rest = value.split(None, 1) or [b""]
            if scheme.lower() not in (b"bearer", b""):  # not named in the message: it may be a key without a scheme
                raise InvalidKey("the Authorization header is not of the form `Bearer KEY`")
            found.update(each.strip() for each in rest)
    found.discard(b"")
    if len(found) > 1:
        raise InvalidKey("the request carries different keys; send one, in Authorization or in x-api-key")
    return found.pop() if found else None


def upstream_headers(headers: Iterable[tuple[bytes, bytes]], upstream_key: str | None) -> Headers:
    """Headers as they go to the engine where the caller's key is ours: without it, and with the engine's own.

    Args:
        headers: Of the request.
        upstream_key: The engine's key, if it wants one.
    """
    kept = [(name, value) for name, value in headers if name.lower() not in CREDENTIALS]
    if upstream_key:
        kept.append((b"authorization", b"Bearer " + upstream_key.encode("utf-8")))
    return kept
