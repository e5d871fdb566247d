from __future__ import annotations

from typing import Any

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.draw import MAX_SEED, Draw
from unhitch.errors import BadParameter, MitigationUnavailable
from unhitch.headers import parse_mitigation
from unhitch.mitigation import Step, mitigate
from unhitch.registry import Registry
from unhitch.strategies.best_of import leads, nothing_to_choose, variants


def bound(line: str) -> tuple[Step, ...]:
    return Registry().bind(parse_mitigation(line))


def seeds(line: str, draw: int = 40) -> list[tuple[Any, ...]]:
    """Of each draw: the seeds of its steps, and that of its chance."""
    return [
        (*(getattr(step.parameters, "seed", "-") for step in steps), chance.seed)
        for steps, chance in variants(bound(line), Draw(draw))
    ]


def test_without_a_number_there_are_four_draws() -> None:
    assert len(variants(bound("best-of, perturb"), Draw(1))) == 4


def test_a_step_moves_on_from_its_own_seed_and_any_other_from_the_sessions() -> None:
    assert seeds("best-of;n=3, recase;seed=7, bare, perturb") == [
        (7, "-", None, 40),
        (8, "-", None, 41),
        (9, "-", None, 42),
    ]


def test_the_largest_seed_is_followed_by_nought() -> None:
    assert seeds(f"best-of;n=2, perturb;seed={MAX_SEED}", draw=MAX_SEED) == [(MAX_SEED, MAX_SEED), (0, 0)]


def test_a_draw_has_all_other_parameters_of_its_steps() -> None:
    (step,), _ = variants(bound("best-of;n=2, perturb;edits=3;seed=1;tokens=3"), Draw(1))[1]
    (expected,) = bound("perturb;edits=3;seed=2;tokens=3")
    assert (step.strategy.name, step.parameters, step.tokens) == ("perturb", expected.parameters, 3)


def test_the_first_draw_is_what_would_be_made_without_it(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    for line in ("perturb", "perturb;seed=9", "recase, perturb;seed=9"):
        first = mitigate(prompt, *variants(bound(f"best-of, {line}"), Draw(3))[0])
        assert first == mitigate(prompt, bound(line), Draw(3))


def test_draws_edit_differently(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    edits = [mitigate(prompt, *variant).after for variant in variants(bound("best-of;n=16, perturb"), Draw(3))]
    assert len({edit.token_ids for edit in edits}) == 16


@pytest.mark.parametrize("number", [1, 17])
def test_two_to_sixteen_draws_are_allowed(number: int) -> None:
    with pytest.raises(BadParameter, match="from 2 to 16"):
        bound(f"best-of;n={number}, perturb")
    assert leads(bound("best-of;n=2, perturb"))
    assert leads(bound("best-of;n=16, perturb"))
    assert not leads(bound("perturb"))
    assert not leads(())


@pytest.mark.parametrize("line", ["best-of", "bare, best-of", "bare, best-of, perturb", "best-of, best-of, perturb"])
def test_it_stands_once_and_first_and_not_alone(line: str) -> None:
    with pytest.raises(BadParameter, match="`best-of` stands once, first"):
        bound(line)


def test_it_is_not_beside_off() -> None:
    with pytest.raises(BadParameter, match="name `off` alone"):
        bound("best-of, off")


def test_one_prompt_alone_cannot_be_edited_by_it(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="one draw: leave `best-of` out"):
        mitigate(prompt_of(), bound("best-of, perturb"), Draw(1))


def test_the_error_for_equal_draws_names_the_strategies_that_drew_nothing() -> None:
    error = nothing_to_choose(bound("best-of, system;preset=neutral, bare"))
    assert "`system, bare`" in error.message
    assert error.param == "best-of"
