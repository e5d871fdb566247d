"""A route, what it is asked, and how a mitigation may answer otherwise than the engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Body = dict[str, Any]

STREAMED = ", streamed"


@dataclass(frozen=True)
class Route:
    """All requests to one route.

    Args:
        path: The route's.
        bodies: By name.
        refused: Codes of the errors that stand, under a mitigation, in place of an answer: by the name of the body.
        unread: Names of bodies that the proxy has to read before it mitigates, and that it finds wrong itself.
    """

    path: str
    bodies: Mapping[str, Body]
    refused: Mapping[str, str] = field(default_factory=dict)
    unread: frozenset[str] = frozenset()

    def code(self, name: str) -> str | None:
        """That of the error under a mitigation; None where there is an answer, or the engine's own error."""
        return self.refused.get(name.removesuffix(STREAMED))

    def reads(self, name: str) -> bool:
        """Whether the proxy can read a body as the engine does."""
        return name.removesuffix(STREAMED) not in self.unread


def plain_and_streamed(bodies: Mapping[str, Body]) -> Iterator[tuple[str, Body]]:
    """Each body as it is, and once more with a stream asked for; those that say so themselves as they are."""
    for name, body in bodies.items():
        yield name, body
        if "stream" not in body:
            yield name + STREAMED, {**body, "stream": True}
