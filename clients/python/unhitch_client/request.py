"""The headers of a request: which mitigations it asks for, by which policy, and what keys the draw."""

from __future__ import annotations

import http_sf

from unhitch import headers
from unhitch.errors import HeaderError
from unhitch_client.mitigations import Asking, entries, header_value


def extra_headers(*mitigations: Asking, policy: str | None = None, session: str | None = None) -> dict[str, str]:
    """Headers for the `extra_headers` of a call, or the `default_headers` of a client, of the openai package.

    Args:
        mitigations: Applied from left to right. None leaves the choice to the policy; `Off()` stands alone. The
            `applied` of an earlier receipt redoes that edit.
        policy: A policy that the operator named; None takes the default one.
        session: Keys the draw, so that all requests that share it get the same variant; any text. None lets the start
            of the conversation key it.

    Returns:
        One header for each that was given; names as in `unhitch.headers`, values in printable ASCII.

    Raises:
        HeaderError: A text that does not parse, an empty name, or a value that has no form in a header.
    """
    made: dict[str, str] = {}
    if mitigations:
        made[headers.MITIGATION] = header_value(entries(*mitigations))
    if policy is not None:
        made[headers.POLICY] = _text(headers.POLICY, policy)
    if session is not None:
        made[headers.SESSION] = _text(headers.SESSION, session)
    return made


def _text(header: str, text: str) -> str:
    if not text:
        raise HeaderError(f"{header} is the empty string; give a name, or None to send no such header.", param=header)
    try:
        return str(http_sf.ser(text if text.isascii() and text.isprintable() else http_sf.DisplayString(text)))
    except UnicodeEncodeError as error:
        raise HeaderError(f"{header} holds half a surrogate pair, which is no character.", param=header) from error
