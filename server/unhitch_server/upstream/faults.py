"""Faults of the connection to an engine, and which of them another engine may make good.

What is tried again has in common that the client has seen no byte, and that the connection failed, not the request:

- no connection (`NoConnection`, `ConnectTimeout`): the engine has not seen the request;
- a connection that broke before the answer or within it (`EngineUnavailable`, `ConnectionBroke`);
- an answer 502 or 503 (`NotServed`): whoever stands before an engine says that none took the request, and vLLM says so
  while it scales. Where no other engine is left, the client gets that answer as it is.

All else reaches the client as it is. 429 is the engine's way to ask for less, and a second request elsewhere would be
more; the client knows how long to wait. 500 is what became of a request that an engine took: sent on, one that breaks
engines would break all of them. 504 and a wait that ran out have cost the client its time already, and an overloaded
fleet would get each request twice. An answer that was generated and not confirmed says that an engine does not do as it
is told, and no other answer hides that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import aiohttp

from unhitch.errors import EngineError, EngineTimeout, EngineUnavailable

UNSERVED = frozenset({502, 503})
"""Statuses of an answer that say that no engine took the request."""


class NoConnection(EngineUnavailable):
    """No connection could be made; the engine has not seen the request."""


class ConnectTimeout(EngineTimeout):
    """No connection came about in time; the engine has not seen the request."""


class ConnectionBroke(EngineError):
    """The connection broke within an answer, or what came over it is no HTTP."""


class NotServed(EngineError):
    """An answer of `UNSERVED`, read in full; if no other engine can be asked, the client gets it as it is.

    Args:
        answered: Its status.
        headers: Its headers, with those of ours that the client is to see.
        body: Its body.
    """

    def __init__(self, answered: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        super().__init__(f"the engine answered {answered}, so it took no request")
        self.answered = answered
        self.answered_headers = headers
        self.body = body


UNSENT = (NoConnection, ConnectTimeout)
"""Faults before the engine saw anything of the request."""

RETRIED = (EngineUnavailable, ConnectTimeout, ConnectionBroke, NotServed)
"""Faults that another engine may make good, as long as the client has seen no byte."""

BROKEN = (EngineUnavailable, EngineTimeout, ConnectionBroke)
"""Faults that speak against an engine."""


@contextmanager
def translated(when: str) -> Iterator[None]:
    """The one place where faults of the transport become errors of ours.

    Args:
        when: Part of the messages.
    """
    try:
        yield
    except aiohttp.ServerTimeoutError as error:  # only the connection has a clock of aiohttp's
        raise ConnectTimeout(
            f"no connection to the engine came about in time: {error}. Is its machine up, and can it be reached?"
        ) from error
    except aiohttp.ClientConnectorError as error:
        raise NoConnection(
            f"no connection to the engine at {error.host}:{error.port}: {error.os_error.strerror or error}. "
            "Is vLLM running there, and is the upstream URL right?"
        ) from error
    except aiohttp.InvalidURL as error:
        raise EngineError(f"the engine cannot be asked for that path: {error}") from error
    except (aiohttp.ClientPayloadError, aiohttp.ClientResponseError) as error:
        raise ConnectionBroke(f"the engine's connection broke {when}: {error}") from error
    except (aiohttp.ClientError, OSError) as error:
        raise EngineUnavailable(f"the connection to the engine broke {when}: {error}") from error
