from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import MODEL, OTHER_JUDGE, OTHER_SUITE, SUITE, scorecard
from unhitch.evidence.deciding import by_subject, deciding
from unhitch.evidence.filed import FiledScorecard, file_scorecard
from unhitch.registry import Registry

EARLY, LATE, LATEST = (f"2026-01-0{day}T00:00:00+00:00" for day in (1, 2, 3))


def passing(at: str, **more: Any) -> FiledScorecard:
    return filed(passed=True, at=at, **more)


def failing(at: str, **more: Any) -> FiledScorecard:
    return filed(passed=False, at=at, **more)


def filed(mitigation: str = "perturb", **more: Any) -> FiledScorecard:
    card = scorecard(mitigation, **more)
    return file_scorecard(Path("x.json"), card, Registry())


def decides(expected: FiledScorecard, *others: FiledScorecard) -> bool:
    return all(deciding(order) is expected for order in permutations([expected, *others]))


def test_the_newest_decides_whatever_it_says() -> None:
    assert decides(failing(LATE), passing(EARLY))
    assert decides(passing(LATE), failing(EARLY))
    assert decides(passing(LATEST), failing(LATE), passing(EARLY))


def test_of_equal_dates_the_failure_decides() -> None:
    assert decides(failing(EARLY), passing(EARLY))


def test_dates_are_compared_as_instants() -> None:
    assert decides(failing("2026-01-01T12:00:00Z"), passing("2026-01-01T13:00:00+02:00"))
    assert decides(failing("2026-01-01T12:00:00"), passing("2026-01-01T11:59:59Z"))


@pytest.mark.parametrize("other", [{"suite": OTHER_SUITE}, {"judge": OTHER_JUDGE}])
def test_a_pass_on_other_questions_or_under_another_judge_does_not_undo_a_failure(other: dict[str, Any]) -> None:
    assert decides(failing(EARLY), passing(LATE, **other))
    assert decides(failing(LATE, **other), passing(EARLY), passing(LATEST))


def test_once_every_suite_and_judge_passes_the_newest_of_them_decides() -> None:
    assert decides(passing(LATEST), failing(EARLY, suite=OTHER_SUITE), passing(LATE, suite=OTHER_SUITE))


def test_of_several_that_fail_the_newest_decides() -> None:
    assert decides(failing(LATE, suite=OTHER_SUITE), failing(EARLY), passing(LATEST, judge=OTHER_JUDGE))


def test_a_suite_under_another_name_with_the_same_questions_is_the_same() -> None:
    assert decides(passing(LATE, suite=SUITE.model_copy(update={"name": "renamed"})), failing(EARLY))


@pytest.mark.parametrize("unreadable", ["", "yesterday", "2026-13-01T00:00:00Z"])
def test_a_failure_without_a_date_stays_and_a_pass_without_one_gives_way(unreadable: str) -> None:
    assert decides(failing(unreadable), passing(LATEST))
    assert decides(failing(EARLY), passing(unreadable))
    assert decides(passing(EARLY), passing(unreadable))
    assert decides(failing(unreadable), passing(unreadable))


def test_a_card_that_does_not_say_when_it_was_made_is_one_without_a_date() -> None:
    card = scorecard("perturb", passed=False).model_copy(update={"made": {}})
    assert decides(file_scorecard(Path("x.json"), card, Registry()), passing(LATEST))


def test_scorecards_of_another_strategy_or_model_are_apart() -> None:
    model = MODEL.model_copy(update={"template": "9" * 64})
    one, again, other, elsewhere = (
        passing(EARLY),
        failing(LATE),
        passing(EARLY, mitigation="bare"),
        passing(EARLY, model=model),
    )
    assert list(by_subject([one, other, elsewhere, again]).values()) == [[one, again], [other], [elsewhere]]
