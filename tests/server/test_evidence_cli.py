"""What `unhitch strategies` and `unhitch scorecards` say of folders where scorecards disagree."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.evidence import OTHER_SUITE, scorecard
from unhitch_server.cli import app
from unhitch_server.cli.scorecards import HEADINGS

EARLY, LATE = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def shown(command: str, folder: Path, *options: str) -> str:
    done = CliRunner().invoke(app, [command, "--evidence", str(folder), *options], env={"COLUMNS": "250"})
    assert done.exit_code == 0
    return done.stdout


def verdicts(folder: Path) -> list[str]:
    """The column of verdicts for the model `mine`."""
    rows = [line.split(" | ") for line in shown("scorecards", folder, "--markdown").splitlines()]
    return sorted(row[HEADINGS.index("verdict")] for row in rows if row[0] == "| mine")


def write(folder: Path, **more: object) -> None:
    count = len(list(folder.iterdir()))
    scorecard("perturb", name="mine", **more).write(folder / f"{count}.json")  # type: ignore[arg-type]


def test_strategies_has_one_line_for_what_was_measured_twice_and_the_newer_measurement_is_it(tmp_path: Path) -> None:
    write(tmp_path, at=EARLY, low=0.8)
    write(tmp_path, at=LATE, low=0.6, passed=False)
    output = shown("strategies", tmp_path)
    assert "mine: fail, 80% good (60-100)" in output
    assert output.count("mine: ") == 1


@pytest.mark.parametrize(
    ("passed", "expected"), [(False, ["fails", "withdrawn"]), (True, ["passes", "replaced"])], ids=["fails", "passes"]
)
def test_scorecards_says_of_an_older_one_that_a_newer_one_decides(
    tmp_path: Path, expected: list[str], *, passed: bool
) -> None:
    write(tmp_path, at=EARLY, passed=not passed)
    write(tmp_path, at=LATE, passed=passed)
    assert verdicts(tmp_path) == expected


def test_scorecards_has_a_pass_withdrawn_by_an_older_failure_on_other_questions(tmp_path: Path) -> None:
    write(tmp_path, at=EARLY, passed=False, suite=OTHER_SUITE)
    write(tmp_path, at=LATE)
    assert verdicts(tmp_path) == ["fails", "withdrawn"]
    assert "mine: fail" in shown("strategies", tmp_path)
