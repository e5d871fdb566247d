"""`unhitch report` on scorecards in files."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from tests.unhitch.evals.report.scorecards import full
from unhitch.errors import EvidenceError, InvalidRequest
from unhitch.evals.report import markdown, page
from unhitch_server.cli.report import report


@pytest.fixture
def file(tmp_path: Path) -> Path:
    full().write(tmp_path / "card.json")
    return tmp_path / "card.json"


def invoke(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(report)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_page_lies_beside_the_scorecard(file: Path) -> None:
    result = invoke(file)
    assert result.exit_code == 0
    assert file.with_suffix(".html").read_text("utf-8") == page.render(full())
    assert "card.html" in result.stderr


def test_the_page_can_be_written_elsewhere(file: Path) -> None:
    assert invoke(file, "--output", file.parent / "other.html").exit_code == 0
    assert (file.parent / "other.html").read_text("utf-8") == page.render(full())


def test_markdown_is_printed_and_nothing_else(file: Path) -> None:
    assert invoke(file, "--markdown").stdout == markdown.render(full())


def test_markdown_can_be_written_to_a_file(file: Path) -> None:
    assert invoke(file, "--markdown", "--output", file.parent / "card.md").stdout == ""
    assert (file.parent / "card.md").read_text("utf-8") == markdown.render(full())


def test_the_scorecard_is_not_overwritten(file: Path) -> None:
    before = file.read_bytes()
    assert isinstance(invoke(file, "--output", file).exception, InvalidRequest)
    assert file.read_bytes() == before


def test_a_scorecard_that_was_changed_by_hand_is_refused(file: Path) -> None:
    file.write_text(file.read_text("utf-8").replace('"passed": true', '"passed": false'), "utf-8")
    assert isinstance(invoke(file).exception, EvidenceError)
    assert not file.with_suffix(".html").exists()


def test_a_folder_that_is_not_there_is_named(file: Path) -> None:
    error = invoke(file, "--output", file.parent / "none" / "card.html").exception
    assert isinstance(error, EvidenceError)
    assert "card.html: No such file" in error.message
