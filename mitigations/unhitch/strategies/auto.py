"""`auto`: the strategy with the best evidence on the served model."""

from __future__ import annotations

from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import Expanding, Expansion, SeededParameters


class Auto(Expanding[SeededParameters]):
    """Stands for the strategy whose passing scorecard on the served model has the highest lower bound of good answers.

    A strategy that generates several answers to return one (`best-of`) is not chosen: it multiplies the cost, and goes
    by name only.
    """

    name = "auto"
    version = 1
    summary = "what the strategy with the best scorecard on the model edits"
    source = "ours"
    parameters = SeededParameters

    def expand(self, prompt: Prompt, parameters: SeededParameters, draw: Draw) -> Expansion:  # noqa: ARG002
        """The steps of the best strategy.

        Raises:
            MitigationUnavailable: There is no evidence at hand.
            NotValidated: No strategy has a passing scorecard for the model as it is served.
        """
        if prompt.evidence is None:
            raise MitigationUnavailable(
                "`auto` chooses by the scorecards in the operator's folders of evidence, and the proxy has none: start "
                "it with --evidence DIR.",
                param=self.name,
            )
        steps, digest = prompt.evidence.choice()
        return Expansion(steps, scorecard=bytes.fromhex(digest))
