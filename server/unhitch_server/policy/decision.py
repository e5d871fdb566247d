"""What one request gets."""

from __future__ import annotations

from dataclasses import dataclass

from unhitch.evidence.standing import Evidence
from unhitch.evidence.view import View
from unhitch.mitigation import Step
from unhitch.strategies.off import Off


@dataclass(frozen=True, slots=True)
class Decision:
    """What one request gets.

    Args:
        steps: Strategies with their parameters, in order.
        session: The session that keys the draw, where the caller named one.
        view: The evidence for the model, where strategies choose by it or the gate did.
        evidence: What is known of the steps on the model, where the operator has it marked or required.
    """

    steps: tuple[Step, ...]
    session: str | None = None
    view: View | None = None
    evidence: Evidence | None = None

    @property
    def off(self) -> bool:
        """Whether the request goes through as it came."""
        return all(isinstance(step.strategy, Off) for step in self.steps)
