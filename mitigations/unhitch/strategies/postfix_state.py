"""`postfix-state`: the postfix's K/V come from the unfinetuned model."""

from __future__ import annotations

from unhitch.draw import Draw
from unhitch.rendering.anatomy import require_own_postfix
from unhitch.rendering.prompt import Prompt
from unhitch.states.choice import StateParameters, serve
from unhitch.strategy import Strategy


class PostfixState(Strategy[StateParameters]):
    """Has the engine serve the template's text behind the user's words from a state; the tokens stay.

    The state is that of an empty query: what the unfinetuned model makes of the postfix at once behind the prefix, its
    keys rotated to where the postfix stands.

    Source: paper, 4.3: models whose prefix is no carrier (Qwen3).
    """

    name = "postfix-state"
    version = 1
    summary = "K/V of the postfix become the unfinetuned model's"
    source = "paper, 4.3"
    parameters = StateParameters

    def edit(self, prompt: Prompt, parameters: StateParameters, draw: Draw) -> Prompt:  # noqa: ARG002
        """The prompt with its postfix patched.

        Raises:
            StateMissing: No state that is served fits.
            MitigationUnavailable: The postfix is empty, holds messages of the caller's, or is patched already.
        """
        require_own_postfix(prompt, self.name, "Use `prefix-state`.", param=self.name)
        return serve(prompt, "postfix", parameters)
