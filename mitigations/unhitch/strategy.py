"""What a strategy is: a named, versioned, typed edit of the prompt outside the user's words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from unhitch.draw import MAX_SEED, Draw
from unhitch.errors import RegistryError
from unhitch.rendering.prompt import Prompt

if TYPE_CHECKING:
    from unhitch.mitigation import Step


class Parameters(BaseModel):
    """Base of a strategy's parameters: the fields are the parameters of the header.

    Fields are bool, int, float, str or Literal of str, so that each has a form in a structured header; each has a
    description, and a range where it has one.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class SeededParameters(Parameters):
    """Base of the parameters of a strategy that draws."""

    seed: int | None = Field(
        default=None,
        ge=0,
        le=MAX_SEED,
        description="Keys the draw. Without it the session does, so that all turns of a conversation share a variant.",
    )


P = TypeVar("P", bound=Parameters)


class Strategy(ABC, Generic[P]):
    """A pure function of (prompt, parameters, draw).

    A subclass sets the class variables and writes `edit`. It keeps no state: one instance serves all requests, from
    several threads at once. `version` goes up whenever equal input can give another output.
    """

    name: ClassVar[str]
    version: ClassVar[int]
    summary: ClassVar[str]
    """One line for tables: what is edited."""
    source: ClassVar[str]
    """Where it comes from: a section of the paper, or `ours`."""
    parameters: ClassVar[type[Parameters]] = Parameters

    @abstractmethod
    def edit(self, prompt: Prompt, parameters: P, draw: Draw) -> Prompt:
        """The edited prompt; the query stays as it is.

        Args:
            prompt: As rendered, or as the strategy before left it.
            parameters: An instance of `self.parameters`.
            draw: The only source of chance; take `draw.stream(self.name)`.

        Raises:
            MitigationUnavailable: The edit cannot be made to this prompt; the message says why and what to do.
        """

    def flags(self, parameters: P) -> tuple[str, ...]:  # noqa: ARG002
        """Names of known hazards in these parameters, shown in `Unhitch-Applied` as parameters that are true.

        A name must not be that of a parameter. Without hazards, which is the default, the tuple is empty.
        """
        return ()


@dataclass(frozen=True, slots=True)
class Expansion:
    """What stands in for an expanding strategy, for one request.

    Args:
        steps: At least one; they may expand in turn.
        pool: SHA-256 of the pool's variants, 32 bytes, where one was drawn from it.
        scorecard: SHA-256 of the scorecard that chose the steps, 32 bytes.
    """

    steps: tuple[Step, ...]
    pool: bytes | None = None
    scorecard: bytes | None = None


class Expanding(Strategy[P]):
    """A strategy that stands for others: which ones, the evidence for the served model says (`prompt.evidence`).

    It edits nothing itself. `Unhitch-Applied` names what it stood for, so that an edit is redone without the evidence.
    """

    @abstractmethod
    def expand(self, prompt: Prompt, parameters: P, draw: Draw) -> Expansion:
        """What is applied in its place.

        Args:
            prompt: As rendered, before any edit.
            parameters: An instance of `self.parameters`.
            draw: The only source of chance; it becomes the seed of every step that has none.

        Raises:
            MitigationUnavailable: There is nothing that it could stand for; the message says why and what to do.
        """

    def edit(self, prompt: Prompt, parameters: P, draw: Draw) -> Prompt:  # noqa: ARG002
        """Never called.

        Raises:
            RegistryError: Always.
        """
        raise RegistryError(f"`{self.name}` stands for other strategies and edits nothing itself.")
