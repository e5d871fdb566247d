"""What scheduler and workers tell each other in a step."""

from __future__ import annotations

from dataclasses import dataclass, field

from vllm.distributed.kv_transfer.kv_connector.v1.base import KVConnectorMetadata, KVConnectorWorkerMetadata

from unhitch.engine.connector.plan import Capture
from unhitch.states.file import StateHeader

Slots = tuple[tuple[int, int], ...]
"""Pairs of a position and its slot in the paged KV cache; positions that a sliding window skips are left out."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Positions of a state that are written in this step.

    Args:
        request: Its id.
        state: The state's id.
        shift: The prompt's position less the state's, for every position.
        slots: For every KV cache group where the prompt's positions lie.
        reported: Whether the request waits for the workers to report the placement.
        guard: An overlay's: a block of the first group that held tokens of the request before this step, by which vLLM
            can be told to fail it; None where there is none.
    """

    request: str
    state: str
    shift: int
    slots: tuple[Slots, ...]
    reported: bool = False
    guard: int | None = None


@dataclass(frozen=True, slots=True)
class Recording:
    """Positions of a prompt that are recorded in this step.

    Args:
        request: Its id.
        capture: What is asked for.
        prompt: Token ids up to the end of the span.
        start: The first of this step's positions.
        stop: The position behind the last of them.
        slots: For every KV cache group where this step's positions lie.
    """

    request: str
    capture: Capture
    prompt: tuple[int, ...]
    start: int
    stop: int
    slots: tuple[Slots, ...]

    @property
    def last(self) -> bool:
        """Whether the span ends in this step."""
        return self.stop == self.capture.tokens


@dataclass(slots=True)
class Step(KVConnectorMetadata):
    """From the scheduler to the workers.

    Args:
        evict: States to drop, before all else.
        load: States to load from their files, beside the steps, each with the serial of the attempt.
        prefixes: Written before the forward pass.
        overlays: Written layer by layer, before the layer's attention.
        recordings: Taken from the layers' attention.
        refusals: Requests to report as failed.
        dropped: Requests whose recording ends unfinished.
    """

    evict: list[str] = field(default_factory=list)
    load: list[tuple[str, int]] = field(default_factory=list)
    prefixes: list[Placement] = field(default_factory=list)
    overlays: list[Placement] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Report(KVConnectorWorkerMetadata):
    """From the workers to the scheduler.

    Args:
        loaded: States that a worker holds now, with serial and header as it read it, once for every worker.
        failed: States and serials that a worker could not load, and why.
        broken: States that a worker could not write into blocks, which the prefix cache may hold already.
    """

    loaded: list[tuple[str, int, StateHeader]] = field(default_factory=list)
    failed: dict[tuple[str, int], str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)

    def aggregate(self, other: KVConnectorWorkerMetadata) -> Report:
        """What two workers report together."""
        assert isinstance(other, Report)  # noqa: S101 - vLLM hands over what our workers built
        return Report(self.loaded + other.loaded, self.failed | other.failed, self.broken | other.broken)
