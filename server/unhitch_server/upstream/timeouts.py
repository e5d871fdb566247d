"""How long the engine may take before a request is given up."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Longest waits for one engine; when one ends, the connection is closed, which makes the engine abort.

    Args:
        connect_seconds: Until the connection stands, names looked up and TLS agreed. A refused one is known at once; a
            crowd of new ones takes its time.
        first_byte_seconds: From the request to the first byte of the answer's body: the engine's queue and the prompt.
            An answer that is no stream has its first byte when all of it is generated.
        silence_seconds: Between two parts of a body.

    Raises:
        ValueError: One is not positive.
    """

    connect_seconds: float = 30.0
    first_byte_seconds: float = 600.0
    silence_seconds: float = 120.0

    def __post_init__(self) -> None:
        for name in self.__slots__:
            value = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} is {value!r}; a timeout is a positive number of seconds")
