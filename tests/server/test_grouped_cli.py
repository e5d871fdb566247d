from dataclasses import dataclass
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner, Result

from unhitch_server.cli.grouped import grouped


@dataclass(frozen=True)
class Oven:
    degrees: Annotated[int, typer.Option(min=0, max=300, envvar="OVEN_DEGREES")]
    fan: Annotated[bool, typer.Option("--fan/--no-fan")] = False
    trays: Annotated[list[str] | None, typer.Option("--tray")] = None


def bake(*arguments: str, **environment: str) -> tuple[Result, list[Any]]:
    """What the command line came to, and what the command was called with."""
    called: list[Any] = []
    app = typer.Typer()

    @app.command()
    @grouped
    def command(what: str, *, minutes: int = 20, oven: Oven) -> None:
        """Bakes something."""
        called.extend((what, minutes, oven))

    return CliRunner().invoke(app, arguments, env=environment), called


def test_the_options_of_a_group_arrive_as_one_object() -> None:
    done, called = bake("bread", "--degrees", "220", "--fan", "--tray", "a", "--tray", "b", "--minutes", "35")
    assert done.exit_code == 0
    assert called == ["bread", 35, Oven(220, fan=True, trays=["a", "b"])]


def test_what_is_not_given_comes_from_the_environment_or_is_the_groups_default() -> None:
    assert bake("bread", OVEN_DEGREES="180")[1] == ["bread", 20, Oven(180)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["bread"], "--degrees"), (["bread", "--degrees", "400"], "300"), (["--degrees", "200"], "WHAT")],
)
def test_what_is_missing_or_out_of_range_is_named(arguments: list[str], said: str) -> None:
    done, called = bake(*arguments)
    assert (done.exit_code, called) == (2, [])
    assert said in done.output.upper() if said.isupper() else said in done.output


def test_the_help_lists_the_options_of_a_group_among_the_commands_own() -> None:
    shown = bake("--help")[0].output
    assert "Bakes something." in shown
    assert all(option in shown for option in ("--minutes", "--degrees", "--fan", "--no-fan", "--tray"))
