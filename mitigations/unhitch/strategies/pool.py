"""`pool`: one variant out of a pool of vetted ones, the same for a whole conversation."""

from __future__ import annotations

from pydantic import Field, model_validator

from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import Expanding, Expansion, SeededParameters


class PoolParameters(SeededParameters):
    """What `pool` takes."""

    name: str = Field(min_length=1, max_length=64, description="Name of a pool that was vetted on the served model.")
    index: int | None = Field(
        default=None, ge=0, description="Which of its variants, counted from 0; without it one is drawn."
    )

    @model_validator(mode="after")
    def _one_choice(self) -> PoolParameters:
        if self.index is not None and self.seed is not None:
            raise ValueError("`index` names a variant and `seed` draws one; give one of them.")
        return self


class Pool(Expanding[PoolParameters]):
    """Stands for one variant of a pool for the served model."""

    name = "pool"
    version = 1
    summary = "what one of the vetted variants of a pool edits"
    source = "ours"
    parameters = PoolParameters

    def expand(self, prompt: Prompt, parameters: PoolParameters, draw: Draw) -> Expansion:
        """The steps of the variant that was asked for, or drawn.

        Raises:
            MitigationUnavailable: There is no evidence at hand, no such pool for this model, or no such variant.
        """
        if prompt.evidence is None:
            raise MitigationUnavailable(
                "`pool` draws from pools in the operator's folders of evidence, and the proxy has none: start it with "
                "--evidence DIR.",
                param=self.name,
            )
        pool = prompt.evidence.pool(parameters.name)
        count = len(pool.variants)
        index = draw.stream(self.name).below(count) if parameters.index is None else parameters.index
        if index >= count:
            raise MitigationUnavailable(
                f"`pool;index={index}`: the pool {parameters.name!r} has {count} variants, 0 to {count - 1}.",
                param="index",
            )
        return Expansion(pool.variants[index], pool=bytes.fromhex(pool.content))
