from __future__ import annotations

from typing import Any

import pytest

from tests.evidence import OTHER_JUDGE, OTHER_SUITE, scorecard


def test_the_same_measurement_made_again_has_the_same_file_name_whatever_it_found() -> None:
    names = {scorecard("perturb", passed=passed, at=at).file_name for passed, at in ((True, "2026-01-01"), (False, ""))}
    assert len(names) == 1
    assert names.pop().endswith(".json")


@pytest.mark.parametrize(
    "other",
    [
        {"suite": OTHER_SUITE},
        {"judge": OTHER_JUDGE},
        {"name": "another/model"},
        {"mitigation": "perturb;edits=11"},
    ],
)
def test_what_counts_beside_it_has_another_file_name(other: dict[str, Any]) -> None:
    name = scorecard(**({"mitigation": "perturb"} | other)).file_name
    assert name != scorecard("perturb").file_name
    assert "/" not in name
