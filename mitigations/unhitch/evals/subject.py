"""What an evaluation is of: a served model, its unfinetuned base, and the files that edits of the query need."""

from __future__ import annotations

from dataclasses import dataclass, replace

from unhitch.errors import EngineError
from unhitch.evals.arm import Arm, Outcome, Refused
from unhitch.evals.harness.run import Run
from unhitch.evals.question import Suite
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity
from unhitch.evidence.scorecard import PASSTHROUGH
from unhitch.rendering.checkpoint import Checkpoint

BASE = "base"
"""Name of the arm that asks the unfinetuned model."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A served model.

    Args:
        name: Its served name.
        identity: What identifies it.
        base: The served name of the unfinetuned model, where the same engine serves it.
        base_identity: What identifies that, served or not.
        checkpoint: Its files, where they can be read here.
        reference: What the unfinetuned model answered to the suite, where another engine serves it.
        scorer: What chooses for `best-of` where it is served, if anything does.
    """

    name: str
    identity: ModelIdentity
    base: str | None = None
    base_identity: ModelIdentity | None = None
    checkpoint: Checkpoint | None = None
    reference: Outcome | None = None
    scorer: JudgeIdentity | None = None

    async def unmitigated(self, run: Run, suite: Suite, draws: int | None = None) -> Outcome:
        """The model as it is; with so many draws, if not as the run's sampling says."""
        return answered(await run.arm(Arm(PASSTHROUGH, self.name, ("off",), suite.questions, draws=draws)))

    async def unfinetuned(self, run: Run, suite: Suite) -> Outcome | None:
        """What the unfinetuned model answers, unmitigated; None where nobody can tell."""
        if self.base is None:
            return self.reference and aligned_with(self.reference, suite)
        return answered(await run.arm(Arm(BASE, self.base, ("off",), suite.questions)))


def answered(found: Outcome | Refused) -> Outcome:
    """The outcome of an arm that needs no edit.

    Raises:
        EngineError: The engine refused every question.
    """
    if isinstance(found, Refused):
        raise EngineError(f"{found.arm.model} answered none of {len(found.arm.questions)} questions: {found.message}")
    return found


def aligned_with(outcome: Outcome, suite: Suite) -> Outcome:
    """The part of an outcome that answers a suite's questions, in their order."""
    rows = dict(zip((question.id for question in outcome.arm.questions), outcome.answers, strict=True))
    arm = replace(outcome.arm, name=BASE, questions=suite.questions)
    return Outcome(arm, tuple(rows[question.id] for question in suite.questions))
