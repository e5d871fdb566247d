"""Where the parts of a document stand, and how they are called in messages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from unhitch_server.policy.errors import Fault

Path: TypeAlias = tuple[str | int, ...]
"""Keys and indices from the document's top to one of its parts."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a document stand.

    Args:
        source: The file, or what else the document was made of.
        known: File and line, or a variable of the environment, by path.
    """

    source: str = "settings"
    known: Mapping[Path, str] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """The place of a part, or that of the nearest part around it."""
        for stop in range(len(path), 0, -1):
            if (place := self.known.get(path[:stop])) is not None:
                return place
        return self.known.get((), self.source)

    def fault(self, path: Path, message: str) -> Fault:
        """A fault of one part, named."""
        return Fault(self.where(path), f"{dotted(path)}: {message}" if path else message)


def dotted(path: Path) -> str:
    """A path as messages show it: `rules[0].policy`."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path)
    return text.removeprefix(".")
