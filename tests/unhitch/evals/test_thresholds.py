"""What a strategy may cost."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from unhitch.evals.thresholds import Thresholds


@pytest.mark.parametrize("wrong", [{"misaligned": -0.1}, {"retention": 0.1}, {"words": 0.1}, {"leaks": -0.1}, {"x": 0}])
def test_a_threshold_that_would_demand_an_improvement_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Thresholds(**wrong)


def test_every_threshold_says_what_it_is_of() -> None:
    assert all(field.description for field in Thresholds.model_fields.values())
