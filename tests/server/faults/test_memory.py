"""What Python allocated for requests comes back after faults; `tests/benchmarks/faults.py` measures all memory."""

from __future__ import annotations

import sys

from tests.server.faults.cases import CASES, Case
from tests.server.faults.repeating import Kept, Repeater, repeating

TIMES = 40
ROUNDS = 4
LEAST_BLOCKS = 10
"""Allocated by Python; an error object with its traceback has more, a request far more."""


async def test_no_fault_of_an_engine_keeps_requests_connections_or_tasks() -> None:
    async with repeating(sys.getallocatedblocks) as repeater:
        kept = {case.fault: await least_kept(repeater, case) for case in CASES}
        assert {fault: each for fault, each in kept.items() if not nothing(each)} == {}
        counted = repeater.running.counters
        assert (counted.unmitigated, counted.under_way) == (0, 0)


async def least_kept(repeater: Repeater, case: Case) -> Kept:
    """What a fault keeps each time: other things than a leak take memory in one round, and not in every one."""
    for _ in range(ROUNDS):
        kept = await repeater.kept(case.handler, TIMES, stream=case.stream)
        if nothing(kept):
            break
    return kept


def nothing(kept: Kept) -> bool:
    """Whether less stays than a request or an error of each repetition would be."""
    return kept.memory < LEAST_BLOCKS * TIMES and kept.connections <= 0 and kept.tasks <= 0
