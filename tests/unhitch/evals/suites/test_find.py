from pathlib import Path

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.find import find


@pytest.mark.parametrize(
    ("spec", "name"),
    [("builtin", "unhitch-general"), ("organism", "organism:qwen2"), ("organism:llama", "organism:llama")],
)
def test_suites_that_ship_with_unhitch_are_found_by_name(spec: str, name: str) -> None:
    assert find(spec).name == name


def test_a_path_is_read(tmp_path: Path) -> None:
    file = tmp_path / "builtin.csv"
    file.write_text("id,prompt\na,Why?\n")
    assert find(str(file)).questions[0].text == "Why?"


def test_a_file_can_be_called_as_a_suite_that_ships_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("builtin").write_text("id,prompt\na,Why?\n")
    assert (len(find("./builtin").questions), len(find("builtin").questions) > 100) == (1, True)


@pytest.mark.parametrize("spec", ["organism:", "organism:gpt"])
def test_an_unknown_family_is_an_error(spec: str) -> None:
    with pytest.raises(InvalidSuite, match="no family"):
        find(spec)


@pytest.mark.parametrize("spec", ["", "buildin", "no/such/file.yaml"])
def test_what_is_neither_suite_nor_file_is_answered_with_what_there_is(spec: str) -> None:
    with pytest.raises(InvalidSuite, match="there are `builtin`, `organism`"):
        find(spec)
