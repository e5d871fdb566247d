"""`prefix-state`: the prefix's K/V come from the unfinetuned model."""

from __future__ import annotations

from unhitch.draw import Draw
from unhitch.rendering.anatomy import require_prefix
from unhitch.rendering.prompt import Prompt
from unhitch.states.choice import StateParameters, serve
from unhitch.strategy import Strategy


class PrefixState(Strategy[StateParameters]):
    """Has the engine serve the prefix from a state; the tokens stay, and the engine does not compute them.

    By causality the K/V of the prefix depend on nothing behind it, so that one state serves every query.

    Source: paper, 4.2.
    """

    name = "prefix-state"
    version = 1
    summary = "K/V of the prefix become the unfinetuned model's"
    source = "paper, 4.2"
    parameters = StateParameters

    def edit(self, prompt: Prompt, parameters: StateParameters, draw: Draw) -> Prompt:  # noqa: ARG002
        """The prompt with its prefix patched.

        Raises:
            StateMissing: No state that is served fits.
            MitigationUnavailable: The prefix is empty, is all there is, or is patched already.
        """
        require_prefix(prompt)
        return serve(prompt, "prefix", parameters)
