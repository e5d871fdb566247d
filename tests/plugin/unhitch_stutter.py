"""`stutter`: tokens of the prefix are said twice. An example of a plug-in; it was not validated on any model."""

from __future__ import annotations

from pydantic import Field

from unhitch.draw import Draw
from unhitch.rendering.anatomy import require_prefix
from unhitch.rendering.prompt import Prompt, Span
from unhitch.strategy import SeededParameters, Strategy


class StutterParameters(SeededParameters):
    """What `stutter` takes."""

    edits: int = Field(default=2, ge=1, le=100, description="How many tokens are doubled; all, where there are fewer.")


class Stutter(Strategy[StutterParameters]):
    """Doubles tokens before the user header that are no control tokens and belong to no tool definition."""

    name = "stutter"
    version = 1
    summary = "doubles tokens of the prefix"
    source = "an example"
    parameters = StutterParameters

    def edit(self, prompt: Prompt, parameters: StutterParameters, draw: Draw) -> Prompt:
        """The prompt with doubled tokens.

        Raises:
            MitigationUnavailable: The prefix is empty.
        """
        require_prefix(prompt)
        positions = [
            position
            for position, token in enumerate(prompt.prefix)
            if token not in prompt.checkpoint.special_ids
            and position not in prompt.tools
            and position not in prompt.user_header
        ]
        doubled = set(draw.stream(self.name).sample(positions, parameters.edits))
        token_ids = [
            token for position, token in enumerate(prompt.prefix) for token in (token,) * (1 + (position in doubled))
        ]
        return prompt.with_prefix(
            token_ids, tools=_shifted(prompt.tools, doubled), user_header=_shifted(prompt.user_header, doubled)
        )


def _shifted(span: Span, doubled: set[int]) -> Span:
    shift = sum(position < span.start for position in doubled)
    return Span(span.start + shift, span.stop + shift) if len(span) else span
