"""What clients may not have of the engine's side of states: what others' states hold, and captures of their own.

The list of states has the tokens of each, which are other clients' system prompts. Captures fill the engine's disk, and
are the proxy's to make. Patches that a client names itself pass where no mitigation is asked for: they serve
measurements, and show nobody anything.
"""

from __future__ import annotations

import json
import posixpath
import re
from urllib.parse import unquote

from unhitch.errors import InvalidBody, RouteNotFound
from unhitch.states.patch import FIELD, STATES_ROUTE
from unhitch_server.states.confirmation import PARAMS

CAPTURE = "capture"
"""The member of ours that asks for a capture."""

_DECODINGS = 3
"""The engine decodes a path once; a gateway before it may do so, too."""

# What hides a name from a search for its bytes: a letter written as an escape (only a-z matter), or UTF-16 and UTF-32,
# which Python's JSON reader takes as well, and in which every second byte of a name is zero.
_DISGUISES = (b"\\u006", b"\\u007", b"\0")


def refuse_states_route(raw_path: bytes) -> None:
    """Refuses a path that the engine, or a gateway before it, could take for its route of states.

    Args:
        raw_path: As it would go on the wire, without the query.

    Raises:
        RouteNotFound: It is such a path, however it is written.
    """
    path = raw_path.decode("latin-1")
    for _ in range(_DECODINGS):
        path = unquote(path, "latin-1")
    names = re.split(r"[/\\]+", re.split("[?#;]", path)[0].lower())
    as_it_stands = "/".join(name for name in names if name not in ("", "."))
    resolved = posixpath.normpath("/" + as_it_stands)
    # Anywhere in the path, since the engine may stand under a prefix.
    if any(f"{STATES_ROUTE}/" in f"{each}/" for each in ("/" + as_it_stands, resolved)):
        raise RouteNotFound(
            f"the engine's {STATES_ROUTE} is not for clients, since it shows the prompts that states were made from; "
            "/readyz says how many states serve each model"
        )


def may_capture(body: bytes) -> bool:
    """Whether a body can hold what `refuse_capture` looks for; all others need not be decoded to know."""
    named = f'"{FIELD}"'.encode() in body and f'"{CAPTURE}"'.encode() in body
    return named or any(disguise in body for disguise in _DISGUISES)


def refuse_capture(body: bytes) -> None:
    """Refuses a body that asks the engine to capture a state. Blocks while it decodes: call it in a thread.

    Args:
        body: For any route: what vLLM hands to connectors may stand at the top, or deeper (`sampling_params.extra_args`
            of its route for token ids).

    Raises:
        InvalidBody: It asks for a capture, or is nested so deeply that nobody can tell.
    """
    try:
        # Numbers stay text: how long they may be differs from one Python to the next.
        todo = [json.loads(body, parse_int=str, parse_float=str)]
    except ValueError:
        return  # no JSON, for the engine neither, which reads it in this same way
    except RecursionError as error:
        raise InvalidBody("the body is nested too deeply to be read") from error
    while todo:
        value = todo.pop()
        if isinstance(value, list):
            todo += value
        elif isinstance(value, dict):
            todo += value.values()
            params = value.get(PARAMS)
            ours = params.get(FIELD) if isinstance(params, dict) else None
            if isinstance(ours, dict) and CAPTURE in ours:
                raise InvalidBody(
                    f"{PARAMS}.{FIELD}.{CAPTURE} is for the proxy alone: states are captured on first use of "
                    "`prefix-state` or `postfix-state`, and by `unhitch capture`. Leave it out.",
                    param=f"{PARAMS}.{FIELD}.{CAPTURE}",
                )
