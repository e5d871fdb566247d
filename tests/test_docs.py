"""The documents are in step with the code."""

import re
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from tests.docs import block
from unhitch.errors import UnhitchError
from unhitch.organisms.families import FAMILIES
from unhitch.registry import Registry
from unhitch.strategies.best_of import BestOf
from unhitch.strategies.off import Off
from unhitch.strategy import Expanding
from unhitch_server.cli import app
from unhitch_server.config import Config

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def generated(command: str) -> str:
    found = block(command).search(README)
    assert found, f"README.md has no block made by `{command}`"
    return found[2].strip()


def test_the_table_of_strategies_is_the_registrys() -> None:
    assert generated("unhitch strategies --markdown") == Registry().markdown_table()


def edits() -> list[str]:
    """Strategies that edit prompts themselves, and do not stand for others."""
    return [each.name for each in Registry() if not isinstance(each, Off | Expanding | BestOf)]


def test_the_table_of_scorecards_is_that_of_the_bundled_ones() -> None:
    shown = CliRunner().invoke(app, ["scorecards", "--markdown"]).stdout
    assert generated("unhitch scorecards --markdown") == shown.strip()


def test_the_table_of_figures_has_a_row_for_every_strategy_and_every_finetuned_model() -> None:
    rows = generated("unhitch organisms measure --markdown")
    for family in FAMILIES.values():
        assert re.search(rf"^\| {family.base} \| unmitigated \|", rows, re.MULTILINE), family.base
        for name in [*edits(), "unmitigated", "query (control)"]:
            model, name = family.finetuned, re.escape(name)
            assert re.search(rf"^\| {model} \| {name} \|", rows, re.MULTILINE), (model, name)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)", README))
def test_every_link_within_the_repository_leads_somewhere(link: str) -> None:
    assert (ROOT / link).exists()


@pytest.mark.parametrize("command", typer.main.get_command(app).commands)  # type: ignore[attr-defined]
def test_every_command_is_in_the_readme_or_the_changelog(command: str) -> None:
    assert re.search(rf"\b{command}\b", README + (ROOT / "CHANGELOG.md").read_text("utf-8"))


def test_every_setting_has_a_description_or_says_its_unit_in_its_name() -> None:
    for name, field in Config.model_fields.items():
        assert field.description or name.endswith("_seconds"), name


def test_the_error_tree_draws_every_error() -> None:
    import unhitch.errors as errors

    def below(kind: type[UnhitchError]) -> set[str]:
        return {kind.__name__}.union(*(below(child) for child in kind.__subclasses__()))

    drawn = set(re.findall(r"[├└]── (\w+)", errors.__doc__ or "")) | {"UnhitchError"}
    ours = {name for name in below(UnhitchError) if hasattr(errors, name)}
    assert drawn == ours


def test_the_roots_of_the_packages_hold_no_stray_modules() -> None:
    for root in ("mitigations", "server", "clients/python"):
        assert list((ROOT / root).glob("*.py")) == []
