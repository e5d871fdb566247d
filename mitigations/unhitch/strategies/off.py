"""`off`: the control."""

from __future__ import annotations

from unhitch.draw import Draw
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import Parameters, Strategy


class Off(Strategy[Parameters]):
    """Leaves the prompt as it is; stands alone, never beside another strategy."""

    name = "off"
    version = 1
    summary = "nothing"
    source = "control"

    def edit(self, prompt: Prompt, parameters: Parameters, draw: Draw) -> Prompt:  # noqa: ARG002
        """The prompt as it came."""
        return prompt
