"""What goes wrong with policies: a file that cannot be taken, and a client that wants more than it may."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from unhitch.errors import UnhitchError


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong.

    Args:
        where: File and line, or the variable of the environment, or the setting.
        message: What was received, and what is allowed.
    """

    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


class InvalidPolicy(UnhitchError):
    """Policies that cannot be used; the message has one line for each fault.

    Args:
        faults: At least one, as they were found.
    """

    code = "invalid_policy"

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("\n".join(map(str, faults)))
        self.faults = tuple(faults)
