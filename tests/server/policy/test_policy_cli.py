"""`unhitch policy check` on files."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from unhitch_server.cli.policy import app
from unhitch_server.policy.errors import InvalidPolicy

TEXT = """models: {safe: {model: mini-finance, policy: strict}}
policies:
  strict: {mitigation: "perturb;edits=5", on_failure: open, clients_may: [seed, off], clients_may_name: [plain]}
  plain: {mitigation: off}
default: strict
rules:
  - {keys: [team-a], routes: [/v1/completions], policy: plain}
"""


def check(file: Path, text: str) -> Result:
    file.write_text(text)
    return CliRunner().invoke(app, ["check", str(file)], env={"COLUMNS": "160"})


def test_policies_rules_and_aliases_are_shown(tmp_path: Path) -> None:
    result = check(tmp_path / "p.yaml", TEXT)
    assert result.exit_code == 0
    for shown in ("strict (default)", "perturb;edits=5", "seed, off, name plain", "fails open", "team-a", "safe"):
        assert shown in result.stdout
    assert "so --upstream must name it" in result.stdout


def test_upstreams_are_shown_where_they_are_named(tmp_path: Path) -> None:
    result = check(tmp_path / "p.yaml", f"upstreams: {{gpu: {{urls: [http://10.0.0.1:8000]}}}}\n{TEXT}")
    assert "http://10.0.0.1:8000" in result.stdout
    assert "--upstream" not in result.stdout


def test_a_file_with_faults_ends_with_status_1_and_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    result = check(file, TEXT.replace("perturb", "pertrub").replace("default: strict", "default: lax"))
    assert result.exit_code == 1
    assert isinstance(result.exception, InvalidPolicy)
    assert [fault.where for fault in result.exception.faults] == [f"{file}:5", f"{file}:3"]


def test_the_environment_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNHITCH_POLICY__policies__plain__mitigation", "bare")
    assert "bare" in check(tmp_path / "p.yaml", TEXT).stdout
