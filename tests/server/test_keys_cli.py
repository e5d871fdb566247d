import stat
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from unhitch.errors import InvalidRequest, KeyFileError, UnhitchError
from unhitch_server.access.keys import Keys
from unhitch_server.cli.keys import app


def run(*arguments: str, file: Path) -> Result:
    return CliRunner().invoke(app, [*arguments, "--file", str(file)], env={"COLUMNS": "200"})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def test_add_prints_the_key_alone_on_the_standard_output(file: Path) -> None:
    done = run("add", "team-a", file=file)
    assert done.exit_code == 0
    assert Keys.read(file).find(done.stdout.strip().encode()).name == "team-a"
    assert done.stdout.strip() not in done.stderr + file.read_text()
    assert "this once" in done.stderr


def test_add_makes_the_file_for_its_owner_alone(file: Path) -> None:
    run("add", "team-a", file=file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_add_keeps_what_the_key_is_for(file: Path) -> None:
    limits = ("--per-minute", "60", "--concurrent", "4")
    run("add", "a", "--model", "mini-*", "--model", "x", "--policy", "strict", *limits, file=file)
    (key,) = Keys.read(file).all
    assert (key.models, key.policies, key.per_minute, key.concurrent) == (("mini-*", "x"), ("strict",), 60, 4)


def test_a_name_that_is_there_already_is_an_error_and_changes_nothing(file: Path) -> None:
    run("add", "a", file=file)
    before = file.read_bytes()
    done = run("add", "a", file=file)
    assert isinstance(done.exception, InvalidRequest)
    assert done.stdout == ""
    assert file.read_bytes() == before


@pytest.mark.parametrize("arguments", [("a b",), ("a", "--model", "*x"), ("a", "--policy", "")])
def test_names_and_patterns_are_checked(file: Path, arguments: tuple[str, ...]) -> None:
    assert isinstance(run("add", *arguments, file=file).exception, InvalidRequest)
    assert not file.exists()


def test_limits_below_one_are_refused(file: Path) -> None:
    assert run("add", "a", "--per-minute", "0", file=file).exit_code == 2


def test_list_shows_what_keys_are_for_and_no_key_and_no_hash(file: Path) -> None:
    secret = run("add", "a", "--model", "mini-*", "--per-minute", "60", file=file).stdout.strip()
    run("add", "b", file=file)
    run("revoke", "b", file=file)
    output = run("list", file=file).stdout
    assert all(word in output for word in ("a", "mini-*", "60", "any", "yes", "revoked 20"))
    assert secret not in output
    assert all(key.sha256[:16] not in output for key in Keys.read(file).all)


def test_list_shows_names_whole_however_long_or_odd_they_are(file: Path) -> None:
    run("add", "a", "--model", "[bold]" + "x" * 100, file=file)
    output = run("list", file=file).stdout
    assert "[bold]" in output
    assert output.count("x") >= 100


def test_revoke_puts_a_key_out_of_force(file: Path) -> None:
    secret = run("add", "a", file=file).stdout.strip()
    assert "The key a is revoked." in run("revoke", "a", file=file).stderr
    with pytest.raises(UnhitchError, match="no longer in force"):
        Keys.read(file).find(secret.encode())


def test_revoking_again_is_no_error_and_says_so(file: Path) -> None:
    run("add", "a", file=file)
    run("revoke", "a", file=file)
    before = file.read_bytes()
    done = run("revoke", "a", file=file)
    assert (done.exit_code, file.read_bytes()) == (0, before)
    assert "revoked already" in done.stderr


def test_revoking_an_unknown_key_or_without_a_file_is_an_error(file: Path) -> None:
    assert isinstance(run("revoke", "a", file=file).exception, KeyFileError)
    run("add", "a", file=file)
    assert isinstance(run("revoke", "b", file=file).exception, InvalidRequest)


def test_a_damaged_file_is_never_written_over(file: Path) -> None:
    file.write_text("damaged")
    assert isinstance(run("add", "a", file=file).exception, KeyFileError)
    assert file.read_text() == "damaged"
