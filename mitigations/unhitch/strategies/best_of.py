"""`best-of`: several draws of the strategies behind it are answered, and the best answer is returned."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pydantic import Field

from unhitch.draw import MAX_SEED, Draw
from unhitch.errors import BadParameter, MitigationUnavailable
from unhitch.mitigation import Step
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import Parameters, SeededParameters, Strategy


class BestOfParameters(Parameters):
    """What `best-of` takes."""

    n: int = Field(default=4, ge=2, le=16, description="How many draws of the strategies that follow are answered.")


class BestOf(Strategy[BestOfParameters]):
    """Has several draws answered in parallel, and the best answer by a scorer returned; stands first.

    It edits no prompt itself: whoever sends the requests asks `variants` for the draws. `Unhitch-Applied` gives the
    steps of the answer chosen, which redo it without this strategy. All turns of a conversation have the same draws,
    and the best of them may be another one in every turn.

    Source: paper, "Best": of several perturbed prefixes, the one whose answer is best.
    """

    name = "best-of"
    version = 1
    summary = "n draws of the strategies that follow are answered, and a scorer chooses the answer"
    source = 'paper, "Best"'
    parameters = BestOfParameters

    def edit(self, prompt: Prompt, parameters: BestOfParameters, draw: Draw) -> Prompt:  # noqa: ARG002
        """Never an edit.

        Raises:
            MitigationUnavailable: Always: this strategy is a choice between answers, and no edit of one prompt.
        """
        raise MitigationUnavailable(
            "`best-of` chooses between the answers to several prompts, and here one prompt is edited. Explain or ask "
            "one draw: leave `best-of` out, and give the strategies that follow a `seed`.",
            param=self.name,
        )


def leads(steps: Sequence[Step]) -> bool:
    """Whether the steps are to be made several times, and the best answer chosen."""
    return bool(steps) and isinstance(steps[0].strategy, BestOf)


def check_place(steps: Sequence[Step]) -> None:
    """Sees that `best-of`, if it is named, stands first, once, and before another strategy.

    Raises:
        BadParameter: It does not.
    """
    places = [index for index, step in enumerate(steps) if isinstance(step.strategy, BestOf)]
    if places and (places != [0] or len(steps) == 1):
        received = ", ".join(step.strategy.name for step in steps)
        raise BadParameter(
            f"`{received}` was asked for: `best-of` stands once, first, and before a strategy that draws, such as "
            "`best-of;n=4, perturb`.",
            param=BestOf.name,
        )


def variants(steps: Sequence[Step], draw: Draw) -> list[tuple[tuple[Step, ...], Draw]]:
    """The steps behind `best-of` with the chance of each draw, in the order of draws.

    Draw i (from 0) of a step that names a seed s has the seed s + i, all others the seed of `draw` plus i; both begin
    anew after the largest seed.

    Args:
        steps: As bound; `best-of` leads them.
        draw: The chance of every step that has no seed of its own.
    """
    first, *rest = steps
    assert isinstance(first.parameters, BestOfParameters)  # noqa: S101 - `leads` has seen to it
    return [
        (tuple(_shifted(step, index) for step in rest), Draw(_plus(draw.seed, index)))
        for index in range(first.parameters.n)
    ]


def nothing_to_choose(steps: Sequence[Step]) -> MitigationUnavailable:
    """The error for draws that all give the same edit.

    Args:
        steps: As bound; `best-of` leads them.
    """
    names = ", ".join(step.strategy.name for step in steps[1:])
    return MitigationUnavailable(
        f"all draws of `{names}` give the same edit of this prompt, so `best-of` has nothing to choose from. Put a "
        "strategy that draws behind it, such as `perturb`, or leave `best-of` out.",
        param=BestOf.name,
    )


def _shifted(step: Step, index: int) -> Step:
    parameters = step.parameters
    if not isinstance(parameters, SeededParameters) or parameters.seed is None:
        return step
    shifted = parameters.model_copy(update={"seed": _plus(parameters.seed, index)})
    return dataclasses.replace(step, parameters=shifted)


def _plus(seed: int, index: int) -> int:
    return (seed + index) % (MAX_SEED + 1)
