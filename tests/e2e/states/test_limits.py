"""Requests that cannot be served patched fail, each by itself; states are served from a bounded memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.states import shapes
from tests.e2e.states.cases import Bench, Case, faults, state_of
from tests.e2e.states.conftest import Make, Served
from tests.e2e.states.engines import Answer, engine
from unhitch.states.file import path, read_header
from unhitch.states.patch import Patch

pytestmark = pytest.mark.timeout(900)  # engines start slowly where other processes run too

GIB = 2**30
LENGTH = 64


@pytest.fixture(scope="module", params=["qwen2", "gemma3"])
def small(request: pytest.FixtureRequest, make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """An engine that has room for two states of 64 positions; of Gemma 3's, whose KV cache is in several groups."""
    bench = Bench(make(request.param), "adapter", tmp_path_factory.mktemp("states"))
    room = 2.5 * LENGTH * _position_bytes(bench)
    with engine(bench.model, bench.folder, adapter=bench.adapter, memory_gib=room / GIB) as started:
        yield Served(bench, started)


def test_more_states_than_there_is_room_for(small: Served) -> None:
    cases = [case for query in (7, 20, 33, 46) for case in _own_prefix(small.bench, query)]
    for _ in range(2):
        for case in cases:  # round robin
            assert faults(small.engine, [case], reset=True) == {}
    assert faults(small.engine, cases, reset=True) == {}


def test_requests_that_need_all_the_room_at_once(small: Served) -> None:
    """Each takes a prefix state and a postfix state, which fill the memory: nobody waits for one and keeps another."""
    cases = [case for query in (5, 18, 31) for case in small.bench.pair(LENGTH, query, LENGTH, patched="both")]
    others = [case for query in (8, 21) for case in _own_prefix(small.bench, query)]
    assert faults(small.engine, [*cases, *others], reset=True) == {}


def test_a_state_that_is_larger_than_the_memory(small: Served) -> None:
    too_large, plain = small.bench.pair(3 * LENGTH, 11)
    case, _ = small.bench.pair(40, 11)
    assert _refused(small, too_large, [plain, case])


def test_a_state_that_is_gone(small: Served) -> None:
    case, plain = small.bench.pair(21, 10)
    path(small.bench.folder, state_of(case)).unlink()
    assert _refused(small, case, [plain])


@pytest.mark.parametrize("damage", ["a flipped byte", "cut in half", "no header"])
def test_a_damaged_state_until_it_is_whole_again(small: Served, damage: str) -> None:
    length = {"a flipped byte": 22, "cut in half": 23, "no header": 24}[damage]
    case, plain = small.bench.pair(length, 10)
    other, _ = small.bench.pair(25, 10)
    file = path(small.bench.folder, state_of(case))
    whole = file.read_bytes()
    damaged = {
        "a flipped byte": whole[:-5] + bytes([whole[-5] ^ 1]) + whole[-4:],
        "cut in half": whole[: len(whole) // 2],
        "no header": bytes(8) + whole[8:],
    }
    file.write_bytes(damaged[damage])
    assert _refused(small, case, [plain, other])
    file.write_bytes(whole)
    assert faults(small.engine, [case, plain, other]) == {}


def test_a_state_of_another_model(small: Served, make: Make, tmp_path: Path) -> None:
    fewer = Bench(make("llama", num_hidden_layers=2), "adapter", small.bench.folder)
    case, plain = small.bench.pair(26, 10)
    of_other = fewer.state(case.ask.prompt[:26])
    assert _refused(small, case.patched(Patch(state=of_other, start=0, tokens=26)), [case, plain])


def test_a_state_with_other_rotary_embeddings(small: Served, make: Make) -> None:
    config = json.loads((small.bench.model / "config.json").read_text())
    shape = "qwen2" if config["model_type"] == "qwen2" else "gemma3"
    theta = {"rope_type": "default", "rope_theta": 5000.0}
    by_type = dict.fromkeys(("full_attention", "sliding_attention"), theta)
    other_model = make(shape, rope_parameters=theta if shape == "qwen2" else by_type)
    other = Bench(other_model, "adapter", small.bench.folder)
    case, plain = small.bench.pair(27, 10)
    state = other.state(case.ask.prompt[:27])
    assert _refused(small, case.patched(Patch(state=state, start=0, tokens=27)), [case, plain])


@pytest.mark.parametrize(
    "fault",
    ["other tokens", "too many positions", "not at the start", "the whole prompt", "twice", "prompt_logprobs"],
)
def test_a_request_that_a_state_does_not_fit(small: Served, fault: str) -> None:
    case, plain = small.bench.pair(28, 10)
    state, prompt = state_of(case), case.ask.prompt
    one = Patch(state=state, start=0, tokens=28)
    ask = {
        "other tokens": replace(case.ask, prompt=[*prompt[:14], prompt[14] + 1, *prompt[15:]]),
        "too many positions": case.patched(Patch(state=state, start=0, tokens=29)).ask,
        "not at the start": case.patched(Patch(state=state, start=1, tokens=27)).ask,
        "the whole prompt": replace(case.ask, prompt=prompt[:28]),
        "twice": case.patched(one, one).ask,
        "prompt_logprobs": replace(case.ask, parameters={"prompt_logprobs": 1}),
    }
    assert _refused(small, replace(case, ask=ask[fault]), [case, plain])


@pytest.mark.parametrize(
    "member",
    [
        {"patches": []},
        {"patches": [{"state": "5e1f", "start": 0, "tokens": 3}]},
        {"patches": [{"state": "0" * 64, "start": -1, "tokens": 3}]},
        {"patches": [{"state": "0" * 64, "start": 0, "tokens": 3, "layers": 2}]},
        {"patch": 3},
        {"capture": {}},
        {"capture": {"span": "prefix", "start": 0, "tokens": 10**6, "tokenizer": "0" * 64, "template": "0" * 64}},
        {"capture": {"span": "prefix", "start": 0, "tokens": 3, "tokenizer": "0" * 64, "template": "0" * 64}},
        "text",
        [1],
        5,
    ],
)
def test_words_that_mean_nothing(small: Served, member: Any) -> None:
    """The last of the captures is in order, but not of an adapter."""
    case, plain = small.bench.pair(28, 10)
    assert _refused(small, replace(plain, ask=replace(plain.ask, member=member)), [case, plain])


@pytest.mark.parametrize("fault", ["longer than the prompt", "larger than the memory"])
def test_a_capture_that_cannot_be_made(small: Served, fault: str) -> None:
    case, plain = small.bench.pair(28, 10)
    positions = 3 * LENGTH
    prompt = case.ask.prompt if fault == "longer than the prompt" else shapes.words(4, positions)
    capture = {"span": "prefix", "start": 0, "tokens": positions, "tokenizer": "0" * 64, "template": "0" * 64}
    asked = replace(plain.ask, prompt=prompt, member={"capture": capture}, base=True)
    assert _refused(small, replace(plain, ask=asked), [case, plain])


def test_a_postfix_state_where_overlays_are_off(make: Make, tmp_path: Path) -> None:
    bench = Bench(make("qwen2"), "adapter", tmp_path)
    prefix, postfix = bench.pair(33, 10, 5), bench.pair(33, 10, 5, patched="postfix")
    with engine(bench.model, tmp_path, adapter=bench.adapter, overlays=False) as started:
        assert _refused(Served(bench, started), postfix[0], [*prefix, postfix[1]])
        assert faults(started, prefix, warm=True) == {}


def _refused(served: Served, case: Case, others: list[Case]) -> bool:
    """Whether a request fails, alone and among others, which are served right at the same time and afterwards."""
    together = served.engine.ask(case.ask, *(other.ask for other in others))
    again = served.engine.ask(*(other.ask for other in others), case.ask)
    assert faults(served.engine, others) == {}
    return all(map(_is_error, (together[0], again[-1])))


def _is_error(answer: Answer) -> bool:
    return (answer.reason, answer.tokens, answer.receipt) == ("error", [], None)


def _own_prefix(bench: Bench, query: int) -> list[Case]:
    """A pair with a prefix of 64 tokens, and a state of its own."""
    case, plain = bench.pair(LENGTH, query)
    longer = bench.state([*case.ask.prompt[:LENGTH], query])
    return [case.patched(Patch(state=longer, start=0, tokens=LENGTH)), plain]


def _position_bytes(bench: Bench) -> int:
    header = read_header(path(bench.folder, bench.state(shapes.words(1, 1))))
    return header.nbytes()
