"""Answers of the engine are those of Hugging Face models whose projections hooks overwrite: tokens and logprobs."""

from __future__ import annotations

import pytest

from tests.e2e.states import shapes
from tests.e2e.states.capturing import captures
from tests.e2e.states.cases import faults
from tests.e2e.states.conftest import Served
from unhitch.states.patch import Patch
from unhitch.states.recipe import Recipe

pytestmark = pytest.mark.timeout(900)  # engines start slowly where other processes run too

PREFIXES = (5, 31, 32, 33, 63, 64, 65, 127, 128, 129, 200, 300)
ADAPTERS = [f"{shape}-adapter" for shape in shapes.NAMES]
"""The engine of a whole finetune does not hold the base."""
RECIPES = (
    Recipe(residual=0),
    Recipe(residual=1),
    Recipe(residual=2),
    Recipe(layers=(1, 2)),
    Recipe(layers=(0, 0)),
    Recipe(parts="k"),
    Recipe(parts="v"),
    Recipe(mix=0.5),
    Recipe(layers=(1, 1), parts="v", mix=0.25),
)


def test_prefix_states_of_all_lengths(served: Served) -> None:
    cases = [case for length in PREFIXES for case in served.bench.pair(length, 9 + length % 17)]
    assert faults(served.engine, cases, reset=True) == {}
    assert faults(served.engine, cases, warm=True) == {}
    # Alone, unpatched after patched of the same prompt and the other way round.
    for case in reversed(cases):
        assert faults(served.engine, [case], warm=True) == {}


def test_states_of_a_postfix_alone_and_with_a_prefix_and_of_a_query(served: Served) -> None:
    spans = [(5, 7, 5), (27, 20, 5), (33, 11, 20), (64, 33, 20), (129, 58, 5), (300, 77, 20)]
    cases = [
        case
        for prefix, query, postfix in spans
        for patched in ("query", "postfix", "both")
        for case in served.bench.pair(prefix, query, postfix, patched=patched)
    ]
    assert faults(served.engine, cases, reset=True) == {}
    assert faults(served.engine, cases, warm=True) == {}


def test_states_of_every_recipe(served: Served) -> None:
    whole = Recipe(layers=(0, served.bench.oracle.layers - 1))  # the paper's own: in the finetuned model, before norms
    prefixes = [case for recipe in (*RECIPES, whole) for case in served.bench.pair(65, 13, recipe=recipe)]
    postfixes = [
        case
        for recipe in (Recipe(residual=1), Recipe(layers=(1, 2), parts="k", mix=0.5))
        for case in served.bench.pair(40, 21, 9, patched="both", recipe=recipe)
    ]
    assert faults(served.engine, [*prefixes, *postfixes], reset=True) == {}
    assert faults(served.engine, [*prefixes, *postfixes], warm=True) == {}


def test_a_longer_state_serves_a_shorter_prefix(served: Served) -> None:
    case, plain = served.bench.pair(33, 12)
    longer = served.bench.state([*case.ask.prompt[:33], *shapes.words(3, 67)])
    assert faults(served.engine, [case.patched(Patch(state=longer, start=0, tokens=33)), plain], reset=True) == {}


@pytest.mark.parametrize("served", ADAPTERS, indirect=True)
@pytest.mark.parametrize(("span", "start", "tokens"), [("prefix", 0, 5), ("prefix", 0, 300), ("postfix", 33, 20)])
def test_the_engine_captures_what_the_base_model_computes(served: Served, span: str, start: int, tokens: int) -> None:
    bench, engine = served.bench, served.engine
    prefix, postfix, patched = (tokens, 0, "prefix") if span == "prefix" else (start, tokens, "postfix")
    case, plain = bench.pair(prefix, 15, postfix, patched=patched)
    [captured] = captures(bench, engine, (case.ask.prompt[:prefix], case.ask.prompt[prefix + 15 :]))
    again = case.patched(Patch(state=captured, start=0 if patched == "prefix" else prefix + 15, tokens=tokens))
    assert faults(engine, [again, plain], reset=True) == {}


@pytest.mark.parametrize("served", ADAPTERS, indirect=True)
def test_several_are_captured_in_one_batch(served: Served) -> None:
    prefixes = [shapes.words(seed, length) for seed, length in ((1, 7), (2, 32), (3, 65), (4, 140))]
    captures(served.bench, served.engine, *((prefix, []) for prefix in prefixes), (prefixes[0], prefixes[1]))
