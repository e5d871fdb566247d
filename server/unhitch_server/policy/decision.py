"""What one request gets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from unhitch.evidence.standing import Evidence
from unhitch.evidence.view import View
from unhitch.mitigation import Step
from unhitch.strategies.off import Off
from unhitch_server.policy.document import DEFAULT, MAIN, Require


@dataclass(frozen=True, slots=True)
class Decision:
    """What one request gets; it holds all that the request needs, whatever becomes of the policies meanwhile.

    Args:
        steps: Strategies with their parameters, in order.
        session: The session that keys the draw, where the caller named one.
        view: The evidence for the model, where strategies choose by it or the gate did.
        evidence: What is known of the steps on the model, where the operator has it marked or required.
        policy: The policy that the steps come from, or that let the client ask for them.
        fail_open: Whether the request goes through unmitigated where the steps cannot be made. Never for steps that
            the client asked for itself.
        require: Whether evidence is marked or required.
        unrecognised: What happens to a raw prompt in which no chat template is recognised.
        model: What the engine calls the model, where the client named an alias.
        upstream: Where the request goes.
        shadow: What a second, hidden request gets, where this one was drawn for that.
    """

    steps: tuple[Step, ...]
    session: str | None = None
    view: View | None = None
    evidence: Evidence | None = None
    policy: str = DEFAULT
    fail_open: bool = False
    require: Require = "no"
    unrecognised: Literal["refuse", "pass"] = "refuse"
    model: str | None = None
    upstream: str = MAIN
    shadow: tuple[Step, ...] | None = None

    @property
    def off(self) -> bool:
        """Whether the request goes through as it came."""
        return idle(self.steps)


def idle(steps: tuple[Step, ...]) -> bool:
    """Whether steps do nothing."""
    return all(isinstance(step.strategy, Off) for step in steps)
