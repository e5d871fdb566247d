"""The scheduler's side: plans for requests, tokens claimed for them, and what the workers are told in each step."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unhitch.engine.connector.messages import Placement, Recording, Report, Slots, Step
from unhitch.engine.connector.model import ModelShape
from unhitch.engine.connector.plan import Plan, plan
from unhitch.engine.connector.residency import Residency, Status
from unhitch.states.file import StateHeader, path, read_header
from unhitch.states.patch import FIELD, to_params

_log = logging.getLogger("vllm.unhitch")  # a child of vLLM's own, so that it is formatted and levelled alike

_HEADERS_KEPT = 4096

_NULL_BLOCK = 0
"""Stands for blocks that a sliding window no longer reaches (vLLM: `BlockPool.null_block`)."""


class Scheduling:
    """What the connector does in the scheduler's process.

    Args:
        folder: Where states lie.
        shape: Of the served model.
        residency: The book of what workers hold.
        block_sizes: Tokens a block, for every KV cache group.
        overlays: Whether states other than a prefix's can be served.
    """

    def __init__(
        self, folder: Path, shape: ModelShape, residency: Residency, block_sizes: tuple[int, ...], *, overlays: bool
    ) -> None:
        self._folder = folder
        self._shape = shape
        self._residency = residency
        self._block_sizes = block_sizes
        self._overlays = overlays
        # A failed load can be reported for single requests only where they wait for it (vLLM's
        # `_handle_invalid_blocks` serves one KV cache group).
        self._wait_for_report = len(block_sizes) > 1
        self._headers: dict[str, StateHeader] = {}
        self._plans: dict[str, Plan] = {}
        self._requests: dict[str, Any] = {}
        self._generations: dict[str, int] = {}
        self._step = Step()

    def new_request(self, request: Any) -> None:
        """Decides what a request gets, and keeps its blocks in the prefix cache apart from others'."""
        made = plan(request, self._header, overlays=self._overlays)
        if made is None:
            return
        positions = sum(header.positions for header in made.headers.values())
        if made.capture is not None:
            positions = made.capture.tokens - made.capture.start
        if (nbytes := self._residency.nbytes_of(positions)) > self._residency.capacity:
            made.refusal = (
                f"the states take {nbytes} bytes, and the engine holds at most {self._residency.capacity}; start "
                "it with more memory_gib"
            )
        if made.refusal:
            _log.warning("unhitch refuses request %s: %s", request.request_id, made.refusal)
        self._plans[request.request_id], self._requests[request.request_id] = made, request
        # What is recorded must be computed; what is refused must come to the connector.
        request.skip_reading_prefix_cache = made.capture is not None and made.refusal is None
        made.given_salt = request.cache_salt
        self._salt(request, made)

    def claim(self, request: Any, computed: int) -> tuple[int | None, bool]:
        """How many tokens behind `computed` need not be computed, and whether the request waits for their report.

        None has the scheduler ask again in the next step: the state is on its way into memory.
        """
        made = self._plans.get(request.request_id)
        if made is None or (made.capture is not None and made.refusal is None):
            return 0, False
        held = made.refusal is None and self._held(request.request_id, made)
        if made.refusal is not None:
            return 1, True  # it waits for a token that is reported as failed: see `allocated`
        if not held:
            return None, False
        claimed = max(0, made.prefix.stop - computed) if made.prefix else 0
        return claimed, claimed > 0 and self._wait_for_report

    def allocated(self, request: Any, blocks: tuple[list[int], ...], claimed: int) -> None:
        """The claimed tokens have their blocks, so that the state can be written there."""
        made = self._plans.get(request.request_id)
        if made is None or claimed <= 0:
            return
        if made.refusal is not None:
            self._step.refusals.append(request.request_id)
        elif made.prefix is not None:
            stop = made.prefix.stop
            slots = self._slots(blocks, stop - claimed, stop)
            placement = Placement(request.request_id, made.prefix.state, 0, slots, reported=self._wait_for_report)
            self._step.prefixes.append(placement)

    def step(self, output: Any) -> Step:
        """What the workers are told for the step that was just scheduled."""
        step, self._step = self._step, Step()
        if self._plans:
            for request_id, computed in _scheduled(output):
                if (made := self._plans.get(request_id)) is not None:
                    stop = computed + output.num_scheduled_tokens[request_id]
                    self._within(step, request_id, made, computed, stop, output)
                    if all(patch.stop <= stop for patch in made.overlays):
                        self._release(request_id, made)
        step.evict, step.load = self._residency.commands()
        return step

    def reported(self, report: Report) -> None:
        """What the workers said after a step."""
        for (state, serial), reason in report.failed.items():
            _log.warning("unhitch: %s", reason)
            self._headers.pop(state, None)
            self._residency.failed(state, serial, reason)
        for state, serial, header in report.loaded:
            self._residency.loaded(state, serial, header)
        for state in report.broken:
            self._give_up_blocks(state)

    def finished(self, request: Any) -> dict[str, Any] | None:
        """Forgets a request, and gives its receipt for the answer's `kv_transfer_params`."""
        self._requests.pop(request.request_id, None)
        made = self._plans.pop(request.request_id, None)
        if made is None:
            return None
        self._release(request.request_id, made)
        if made.capture is not None:
            self._step.dropped.append(request.request_id)
        return {FIELD: to_params(made.patches)} if made.patches and made.refusal is None else None

    def _header(self, state: str) -> StateHeader:
        """A state's header, checked against the served model; files do not change, so it is read once."""
        if (known := self._headers.get(state)) is not None:
            return known
        header = read_header(path(self._folder, state))
        self._shape.check(state, header)
        while len(self._headers) >= _HEADERS_KEPT:
            del self._headers[next(iter(self._headers))]
        self._headers[state] = header
        return header

    def _held(self, request_id: str, made: Plan) -> bool:
        """Whether all states of a plan are in memory; those that are not are on their way when there is room."""
        made.loads = made.loads or self._residency.reserve(request_id, made.headers)
        for load in made.loads:
            if load.status is Status.FAILED:
                made.refusal = load.reason
        return bool(made.loads) and all(load.status is Status.RESIDENT for load in made.loads)

    def _release(self, request_id: str, made: Plan) -> None:
        self._residency.release(request_id, made.loads)
        made.loads = []

    def _salt(self, request: Any, made: Plan) -> None:
        request.cache_salt = made.salt(request.request_id, self._generations)
        request.block_hashes = []
        request.update_block_hashes()

    def _give_up_blocks(self, state: str) -> None:
        """Has nobody find blocks that this state was to be written to: a write failed, and vLLM may have kept them."""
        self._generations[state] = self._generations.get(state, 0) + 1
        for request_id, made in self._plans.items():
            request = self._requests[request_id]
            if state in made.headers and request.num_computed_tokens == 0:
                self._salt(request, made)

    def _within(self, step: Step, request_id: str, made: Plan, start: int, stop: int, output: Any) -> None:
        """Adds what falls into the positions that a request computes in this step."""

        def slots(span: tuple[int, int]) -> tuple[Slots, ...]:
            return self._slots(output.kv_connector_block_state.get_block_ids(request_id), *span)

        for patch in made.overlays:
            if (span := _overlap(patch.start, patch.stop, start, stop)) is not None:
                shift = patch.start - made.headers[patch.state].start
                guard = self._guard(output.kv_connector_block_state.get_block_ids(request_id)[0], start)
                step.overlays.append(Placement(request_id, patch.state, shift, slots(span), guard=guard))
        capture = made.capture
        if capture and (span := _overlap(capture.start, capture.tokens, start, stop)) is not None:
            prompt = tuple(self._requests[request_id].prompt_token_ids[: capture.tokens])
            step.recordings.append(Recording(request_id, capture, prompt, *span, slots(span)))

    def _guard(self, blocks: list[int], start: int) -> int | None:
        block = blocks[(start - 1) // self._block_sizes[0]] if start else _NULL_BLOCK
        return None if block == _NULL_BLOCK else block

    def _slots(self, blocks: tuple[list[int], ...], start: int, stop: int) -> tuple[Slots, ...]:
        return tuple(
            tuple(
                (position, ids[position // size] * size + position % size)
                for position in range(start, stop)
                if ids[position // size] != _NULL_BLOCK
            )
            for ids, size in zip(blocks, self._block_sizes, strict=True)
        )


def _scheduled(output: Any) -> Iterable[tuple[str, int]]:
    """Requests of a step, and how many of their tokens were computed before it."""
    yield from ((new.req_id, new.num_computed_tokens) for new in output.scheduled_new_reqs)
    cached = output.scheduled_cached_reqs
    yield from zip(cached.req_ids, cached.num_computed_tokens, strict=True)


def _overlap(start: int, stop: int, other_start: int, other_stop: int) -> tuple[int, int] | None:
    first, end = max(start, other_start), min(stop, other_stop)
    return (first, end) if first < end else None
