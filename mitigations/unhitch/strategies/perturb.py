"""`perturb`: tokens of a span are replaced by neighbours in the input embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from unhitch.draw import Draw
from unhitch.editing.protect import Protect, editable_postfix, editable_prefix
from unhitch.neighbours.nearest import MOST, Metric, nearest
from unhitch.rendering.anatomy import require_own_postfix, require_prefix
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import SeededParameters, Strategy

_PREFETCHED = 256
"""Spans of up to so many different tokens are looked up whole, so that one pass over the matrix serves all draws."""


class PerturbParameters(SeededParameters):
    """What `perturb` takes."""

    edits: int = Field(
        default=10, ge=1, le=1000, description="How many tokens are replaced; all that may be, where there are fewer."
    )
    neighbours: int = Field(default=5, ge=1, le=MOST, description="Each is replaced by one of so many nearest tokens.")
    metric: Metric = Field(default="cosine", description="What nearest means: cosine similarity or dot product.")
    span: Literal["prefix", "postfix"] = Field(
        default="prefix", description="What stands before the user's words, or the template's text behind them."
    )
    protect: Protect = Field(
        default="none",
        description="What is kept: nothing, control tokens, or these and the user header. Protected control tokens are "
        "not put in for others either. Tool definitions are always kept.",
    )


class Perturb(Strategy[PerturbParameters]):
    """Replaces tokens by one of their nearest neighbours; the ids go to the model as they are.

    Positions are drawn without replacement. A token without neighbours (a row of zeros) stays, so that fewer tokens can
    change than were asked for; `Unhitch-Applied` gives the number.

    Source: paper, table 1: ten tokens of the prefix, five neighbours, any token of the span.
    """

    name = "perturb"
    version = 1
    summary = "tokens of the prefix or postfix become near tokens in the input embeddings"
    source = "paper, table 1"
    parameters = PerturbParameters

    def edit(self, prompt: Prompt, parameters: PerturbParameters, draw: Draw) -> Prompt:
        """The prompt with other tokens in one span.

        Raises:
            MitigationUnavailable: The span is empty, or the postfix holds messages of the caller's.
            CheckpointError: The input embeddings cannot be read.
        """
        if parameters.span == "postfix":
            require_own_postfix(prompt, "perturb;span=postfix", "Use `span=prefix`.", param="span")
            positions = editable_postfix(prompt, parameters.protect)
            return prompt.with_postfix(self._replaced(prompt, prompt.postfix, positions, parameters, draw))
        require_prefix(prompt)
        positions = editable_prefix(prompt, parameters.protect)
        token_ids = self._replaced(prompt, prompt.prefix, positions, parameters, draw)
        return prompt.with_prefix(token_ids, tools=prompt.tools, user_header=prompt.user_header)

    def _replaced(
        self,
        prompt: Prompt,
        token_ids: Sequence[int],
        positions: Sequence[int],
        parameters: PerturbParameters,
        draw: Draw,
    ) -> list[int]:
        stream = draw.stream(self.name)
        drawn = stream.sample(positions, parameters.edits)
        looked_up = {token_ids[position] for position in positions}
        if len(looked_up) > _PREFETCHED:
            looked_up = {token_ids[position] for position in drawn}
        checkpoint = prompt.checkpoint
        near = nearest(checkpoint.path, checkpoint.vocabulary_size, looked_up, parameters.metric)
        forbidden = frozenset() if parameters.protect == "none" else checkpoint.special_ids
        replaced = list(token_ids)
        for position in drawn:
            candidates = [token for token in near[token_ids[position]] if token not in forbidden]
            if candidates:
                replaced[position] = stream.choice(candidates[: parameters.neighbours])
        return replaced
