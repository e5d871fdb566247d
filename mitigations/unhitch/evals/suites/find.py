"""Finds the suite that a user names."""

from __future__ import annotations

from pathlib import Path

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Suite
from unhitch.evals.suites.builtin import builtin
from unhitch.evals.suites.organism import DEFAULT_FAMILY
from unhitch.evals.suites.organism import suite as organism
from unhitch.evals.suites.read import read


def find(spec: str) -> Suite:
    """The suite of a name, or in a file.

    Args:
        spec: "builtin", "organism" or "organism:FAMILY", or the path of a file; "./builtin" is a file.

    Raises:
        InvalidSuite: There is no such suite, or the file cannot be used.
    """
    if spec == "builtin":
        return builtin()
    name, _, family = spec.partition(":")
    if name == "organism":
        return organism(family if ":" in spec else DEFAULT_FAMILY)
    path = Path(spec).expanduser()
    if not spec or not path.exists():
        raise InvalidSuite(
            f"{spec!r} is no suite and no file; there are `builtin`, `organism` and `organism:FAMILY`, and paths."
        )
    return read(path)
