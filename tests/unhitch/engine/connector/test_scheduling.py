"""What the scheduler's side has vLLM and the workers do for a request, step by step."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tests.unhitch.engine.connector.conftest import HeaderOf, RequestOf
from unhitch.engine.connector.messages import Report, Step
from unhitch.engine.connector.model import ModelShape
from unhitch.engine.connector.residency import Residency
from unhitch.engine.connector.scheduling import Scheduling
from unhitch.states.file import StateHeader, path, read_header, write

BLOCK = 4
PREFIX, POSTFIX = list(range(10, 16)), [30, 31]
PROMPT = [*PREFIX, 20, 21, 22, *POSTFIX]


@pytest.fixture
def prefix(states: Path, header_of: HeaderOf) -> str:
    return stored(states, header_of(PREFIX))


@pytest.fixture
def postfix(states: Path, header_of: HeaderOf) -> str:
    return stored(states, header_of([*PREFIX, *POSTFIX], span="postfix", start=6))


def stored(states: Path, header: StateHeader) -> str:
    return write(states, header, {name: torch.zeros(shape) for name, shape in header.shapes()})


def scheduling(states: Path, vllm_config: Any, *, groups: int = 1, positions: int = 100) -> Scheduling:
    residency = Residency(positions, 1, workers=1)
    return Scheduling(states, ModelShape.of(vllm_config.model_config), residency, (BLOCK,) * groups, overlays=True)


def patched(*patches: tuple[str, int, int]) -> dict[str, Any]:
    return {"patches": [dict(zip(("state", "start", "tokens"), patch, strict=True)) for patch in patches]}


def scheduled(blocks: tuple[list[int], ...] = (), **computed: tuple[int, int]) -> Any:
    """A step's output: for every request how many tokens were computed, and how many are."""
    return SimpleNamespace(
        scheduled_new_reqs=[SimpleNamespace(req_id=name, num_computed_tokens=one[0]) for name, one in computed.items()],
        scheduled_cached_reqs=SimpleNamespace(req_ids=[], num_computed_tokens=[]),
        num_scheduled_tokens={name: one[1] for name, one in computed.items()},
        kv_connector_block_state=SimpleNamespace(get_block_ids=lambda _: blocks),
    )


def held(side: Scheduling, states: Path, request: Any) -> Step:
    """Has a new request's states loaded; the step that said so."""
    side.new_request(request)
    assert side.claim(request, 0) == (None, False)
    step = side.step(scheduled())
    loaded = [(state, serial, read_header(path(states, state))) for state, serial in step.load]
    side.reported(Report(loaded=loaded))
    return step


def test_a_request_waits_for_its_state_and_then_claims_what_is_not_computed(
    states: Path, prefix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config)
    request = request_of(PROMPT, patched((prefix, 0, 6)))
    assert held(side, states, request).load == [(prefix, 0)]
    assert [side.claim(request, computed) for computed in (0, 4, 8)] == [(6, False), (2, False), (0, False)]


def test_a_prefix_is_placed_where_its_blocks_are(
    states: Path, prefix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config)
    request = request_of(PROMPT, patched((prefix, 0, 6)))
    held(side, states, request)
    side.allocated(request, ([7, 3, 9],), 2)
    [placement] = side.step(scheduled(one=(6, 5))).prefixes
    assert (placement.request, placement.state, placement.shift, placement.reported) == ("one", prefix, 0, False)
    assert placement.slots == (((4, 3 * BLOCK), (5, 3 * BLOCK + 1)),)


def test_blocks_that_a_sliding_window_skips_are_left_out_and_the_request_waits_for_its_report(
    states: Path, prefix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config, groups=2)
    request = request_of(PROMPT, patched((prefix, 0, 6)))
    held(side, states, request)
    assert side.claim(request, 0) == (6, True)
    side.allocated(request, ([7, 3, 9], [0, 5, 6]), 6)
    [placement] = side.step(scheduled()).prefixes
    assert placement.reported
    assert [[position for position, _ in slots] for slots in placement.slots] == [[0, 1, 2, 3, 4, 5], [4, 5]]
    assert placement.slots[1] == ((4, 5 * BLOCK), (5, 5 * BLOCK + 1))


def test_an_overlay_is_placed_in_the_steps_that_compute_its_positions(
    states: Path, postfix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config)
    request = request_of(PROMPT, patched((postfix, 9, 2)))
    held(side, states, request)
    blocks = ([7, 3, 9],)
    steps = [side.step(scheduled(blocks, one=span)) for span in ((0, 9), (9, 1), (10, 1))]
    placed = [[placement.slots[0] for placement in step.overlays] for step in steps]
    assert placed == [[], [((9, 9 * BLOCK + 1),)], [((10, 9 * BLOCK + 2),)]]
    assert {placement.shift for step in steps for placement in step.overlays} == {9 - 6}


def test_a_refused_request_claims_a_token_whose_loading_is_reported_as_failed(
    states: Path, prefix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config)
    request = request_of([*PREFIX[:-1], 99, 20, 21], patched((prefix, 0, 6)))
    side.new_request(request)
    assert side.claim(request, 0) == (1, True)
    side.allocated(request, ([7],), 1)
    step = side.step(scheduled())
    assert (step.refusals, step.prefixes, step.load) == (["one"], [], [])
    assert side.finished(request) is None


def test_a_state_that_cannot_be_loaded_refuses_who_waits_for_it_and_is_tried_anew(
    states: Path, prefix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config)
    request, again = (request_of(PROMPT, patched((prefix, 0, 6)), request_id=name) for name in ("one", "two"))
    side.new_request(request)
    side.claim(request, 0)
    [load] = side.step(scheduled()).load
    side.reported(Report(failed={load: "it is damaged"}))
    assert side.claim(request, 0) == (1, True)
    assert side.finished(request) is None
    assert [state for state, _ in held(side, states, again).load] == [prefix]
    assert side.claim(again, 0) == (6, False)


def test_states_that_take_more_than_the_memory_are_refused(
    states: Path, prefix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config, positions=5)
    request = request_of(PROMPT, patched((prefix, 0, 6)))
    side.new_request(request)
    assert side.claim(request, 0) == (1, True)


def test_the_receipt_names_what_was_patched(
    states: Path, prefix: str, postfix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config)
    request = request_of(PROMPT, patched((postfix, 9, 2), (prefix, 0, 6)))
    held(side, states, request)
    assert side.finished(request) == {"unhitch": patched((prefix, 0, 6), (postfix, 9, 2))}
    assert side.finished(request) is None


def test_a_request_of_others_is_left_alone(states: Path, vllm_config: Any, request_of: RequestOf) -> None:
    side = scheduling(states, vllm_config)
    request = request_of(PROMPT, None, cache_salt="theirs")
    side.new_request(request)
    assert (request.cache_salt, side.claim(request, 0), side.finished(request)) == ("theirs", (0, False), None)
    assert side.step(scheduled(one=(0, 11))) == Step()


def test_a_state_stays_in_memory_until_the_last_position_is_placed(
    states: Path, prefix: str, postfix: str, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config, positions=6)
    overlay, other = (
        request_of(PROMPT, member, request_id=name)
        for name, member in (("one", patched((postfix, 9, 2))), ("two", patched((prefix, 0, 6))))
    )
    held(side, states, overlay)
    side.new_request(other)
    blocks = ([7, 3, 9],)
    evicted = []
    for span in ((0, 9), (9, 1), (10, 1), (11, 1)):
        side.claim(other, 0)
        evicted.append(side.step(scheduled(blocks, one=span)).evict)
    assert evicted == [[], [], [], [postfix]]


def test_what_is_captured_is_computed_though_it_is_in_the_cache(
    states: Path, vllm_config: Any, request_of: RequestOf
) -> None:
    side = scheduling(states, vllm_config)
    capture = {"span": "postfix", "start": 6, "tokens": 8, "tokenizer": "0" * 64, "template": "0" * 64}
    request = request_of([*PREFIX, *POSTFIX], {"capture": capture})
    side.new_request(request)
    assert request.skip_reading_prefix_cache
    assert side.claim(request, 0) == (0, False)
    blocks = ([7, 3],)
    first, second = (side.step(scheduled(blocks, one=span)).recordings for span in ((0, 7), (7, 1)))
    assert [(one.start, one.stop, one.last, one.slots) for one in first] == [(6, 7, False, (((6, 3 * BLOCK + 2),),))]
    assert [(one.start, one.stop, one.last, one.slots) for one in second] == [(7, 8, True, (((7, 3 * BLOCK + 3),),))]
    assert side.finished(request) is None
    assert side.step(scheduled()).dropped == ["one"]
