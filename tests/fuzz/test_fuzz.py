"""A small share of the fuzzing, the same each time; `python -m tests.fuzz` is all of it."""

from __future__ import annotations

import pytest

from tests.fuzz.running import Target, fuzz
from tests.fuzz.table import TARGETS

INPUTS = 4000


def test_the_shares_are_of_all_inputs() -> None:
    assert sum(target.share for target in TARGETS) == 100


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_nothing_that_must_not_be_comes_of_any_input(target: Target) -> None:
    inputs = INPUTS * target.share // 100

    result = fuzz(target, inputs)

    assert result.failure is None, result.failure
    assert result.inputs >= inputs // 2
    assert len(result.came) > 1
