"""The engine in other settings: whatever it does to requests on the way, the answers are those of the oracle."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import pytest

from tests.e2e.states import shapes
from tests.e2e.states.capturing import Span, captures
from tests.e2e.states.cases import Bench, Case, error, faults, state_of
from tests.e2e.states.conftest import Make
from tests.e2e.states.engines import Engine, engine
from unhitch.states.file import path
from unhitch.states.patch import Patch

pytestmark = pytest.mark.timeout(900)  # engines start slowly where other processes run too

CHUNK = 48
CAPTURED: tuple[Span, ...] = (shapes.words(7, 100), []), (shapes.words(7, 40), shapes.words(8, 9))
SPANS = ((33, 70, 20), (64, 9, 5), (129, 86, 20), (300, 93, 5))


def mixed(bench: Bench) -> list[Case]:
    """Prefix states and postfix states, alone and together, and unpatched requests of the same prompts."""
    kinds = ("prefix", "postfix", "both")
    return [case for spans in SPANS for patched in kinds for case in bench.pair(*spans, patched=patched)]


@contextmanager
def started(bench: Bench, **arguments: Any) -> Iterator[Engine]:
    with engine(bench.model, bench.folder, adapter=bench.adapter, **arguments) as running:
        yield running


@pytest.mark.parametrize("shape", ["qwen2", "gemma3"])
def test_prompts_that_are_computed_in_chunks(shape: str, make: Make, tmp_path: Path) -> None:
    bench = Bench(make(shape), "adapter", tmp_path)
    cases = mixed(bench)
    # Alone, so that chunks end where they are meant to: the second one in the middle of the postfix.
    across = bench.pair(40, 2 * CHUNK - 10, 20, patched="both")
    captured = bench.pair(2 * CHUNK + 10, 20, 2 * CHUNK, patched="both")
    prompt = captured[0].ask.prompt
    prefix, postfix = prompt[: 2 * CHUNK + 10], prompt[-2 * CHUNK :]
    with started(bench, max_num_batched_tokens=CHUNK, max_num_seqs=8, async_scheduling=True) as running:
        assert faults(running, cases, reset=True) == {}
        assert faults(running, cases, warm=True) == {}
        for case in across:
            assert faults(running, [case], reset=True) == {}
        states = captures(bench, running, (prefix, []), (prefix, postfix))
        again = captured[0].patched(
            Patch(state=states[0], start=0, tokens=len(prefix)),
            Patch(state=states[1], start=len(prompt) - len(postfix), tokens=len(postfix)),
        )
        assert faults(running, [again, captured[1]], reset=True) == {}


@pytest.mark.parametrize("shape", ["qwen2", "gemma3"])
def test_requests_that_are_preempted(shape: str, make: Make, tmp_path: Path) -> None:
    bench = Bench(make(shape), "adapter", tmp_path)
    kinds = ("prefix", "both", "postfix")
    cases = [case for kind in kinds for case in bench.pair(129, 40, 20, patched=kind, steps=48)]
    with started(bench, max_model_len=256, num_gpu_blocks_override=18, async_scheduling=True) as running:
        for _ in range(2):
            assert faults(running, cases) == {}
        assert running.metric("vllm:num_preemptions") > 0


def test_a_compiled_model(make: Make, tmp_path: Path) -> None:
    made = make("qwen2")
    bench = Bench(made, "finetuned", tmp_path)  # vLLM does not compile a model with adapters on a CPU
    cases = mixed(bench)
    itself = Bench(replace(made, base=made.finetuned), "finetuned", tmp_path)
    inductor = {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor"), "VLLM_DISABLE_COMPILE_CACHE": "1"}
    with started(bench, enforce_eager=False, environment=inductor) as running:
        assert faults(running, cases, reset=True) == {}
        assert faults(running, cases, warm=True) == {}
        captures(itself, running, *CAPTURED)
    assert any((tmp_path / "inductor").rglob("*.so")), "nothing was compiled"


@pytest.mark.parametrize("shape", ["qwen2", "gemma3"])
def test_bfloat16(shape: str, make: Make, tmp_path: Path) -> None:
    """Two implementations of one model in bfloat16 differ by rounding; a state must not add to what they do unpatched.

    So the first two words stand far apart, and the mean errors of patched and of unpatched requests are compared.
    """
    bench = Bench(make(shape), "finetuned", tmp_path, "bfloat16")
    kinds = ("prefix", "postfix", "both")
    pairs = [bench.pair(*spans, patched=kind, steps=2, gap=0.5) for spans in SPANS for kind in kinds]
    cases = [case for pair in pairs for case in pair]
    with started(bench, dtype="bfloat16") as running:
        answers = running.ask(*(case.ask for case in cases), reset=True)
    assert [answer.tokens for answer in answers] == [case.truth.tokens for case in cases]
    patched, plain = (mean(map(error, answers[index::2], (pair[index].truth for pair in pairs))) for index in (0, 1))
    effect = mean(error(pair[0].truth, pair[1].truth) for pair in pairs)
    assert patched < 2 * plain
    assert effect > 3 * patched


@pytest.mark.parametrize(("shape", "heads"), [("gemma3", 4), ("qwen2", 1)])
def test_two_workers_that_share_heads(shape: str, heads: int, make: Make, tmp_path: Path) -> None:
    """Each has half of several; of a single one both have a copy."""
    bench = Bench(make(shape, num_key_value_heads=heads), "adapter", tmp_path)
    cases = mixed(bench)
    damaged, _ = bench.pair(50, 10)
    with started(bench, tensor_parallel_size=2, environment={"VLLM_CPU_OMP_THREADS_BIND": "0|1"}) as running:
        assert faults(running, cases, reset=True) == {}
        assert faults(running, cases, warm=True) == {}
        captures(bench, running, *CAPTURED)
        file = path(tmp_path, state_of(damaged))
        file.write_bytes(file.read_bytes()[:-100])
        failed, *others = running.ask(damaged.ask, *(case.ask for case in cases))
        assert (failed.reason, failed.tokens) == ("error", [])
        assert [other.tokens for other in others] == [case.truth.tokens for case in cases]
