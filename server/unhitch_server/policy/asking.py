"""What a client asks for by headers of ours."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from unhitch import headers as wire
from unhitch.errors import HeaderError
from unhitch_server.upstream.connection import OWN_PREFIX

_LONGEST = 16_384
"""Bytes of one of our headers; parsed ones are cached."""


@dataclass(frozen=True, slots=True)
class Asking:
    """What a client asks for; at most one of mitigation and policy.

    Args:
        mitigation: Field lines of Unhitch-Mitigation; empty where it is not there.
        policy: The policy that Unhitch-Policy names.
        session: The session that Unhitch-Session names.
    """

    mitigation: tuple[str, ...] = ()
    policy: str | None = None
    session: str | None = None


_NOTHING = Asking()


def asking(request_headers: Iterable[tuple[bytes, bytes]]) -> Asking:
    """Reads our headers; several lines of one are joined.

    Args:
        request_headers: Raw header lines; names in any case.

    Raises:
        HeaderError: A header of ours is malformed, too long, unknown, or contradicts another.
    """
    own: dict[str, list[str]] = {}
    for key, value in request_headers:
        name = key.decode("latin-1").lower()
        if key.lower().startswith(OWN_PREFIX):
            own.setdefault(name, []).append(value.decode("latin-1"))
            if (size := sum(map(len, own[name]))) > _LONGEST:
                raise HeaderError(f"{name} has {size} bytes or more; at most {_LONGEST} are read", param=name)
    if not own:
        return _NOTHING
    mitigation, policy = own.pop(wire.MITIGATION.lower(), None), own.pop(wire.POLICY.lower(), None)
    session = own.pop(wire.SESSION.lower(), None)
    if own:
        raise HeaderError(
            f"unknown header {next(iter(own))!r}; requests may carry "
            f"{wire.MITIGATION}, {wire.POLICY} and {wire.SESSION}",
            param=next(iter(own)),
        )
    if mitigation is not None and policy is not None:
        raise HeaderError(
            f"{wire.MITIGATION} and {wire.POLICY} came together; send one: a policy already says what is done",
            param=wire.POLICY,
        )
    return Asking(
        tuple(mitigation or ()),
        None if policy is None else wire.parse_policy(*policy),
        None if session is None else wire.parse_session(*session),
    )
