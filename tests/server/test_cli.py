import asyncio
import io
import json
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.evidence import pool, scorecard
from tests.server.conftest import Proxied
from tests.server.fake_engine import MODEL
from unhitch import organisms
from unhitch.evidence.served import identify
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server import cli

UNHITCH = str(Path(sys.executable).with_name("unhitch"))


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


def run(*arguments: str, **environment: str) -> Done:
    """The command in this process, whose imports it shares; `in_a_process` is for what a process of its own shows."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["unhitch", *arguments])
        for name, value in environment.items():
            patch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return Done(int(ended.value.code or 0), out.getvalue(), err.getvalue())


def in_a_process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([UNHITCH, *arguments], capture_output=True, text=True, timeout=120, env=os.environ)


def test_strategies_prints_the_registrys_table_as_markdown() -> None:
    from unhitch.registry import Registry

    assert in_a_process("strategies", "--markdown").stdout.strip() == Registry().markdown_table()


def test_an_error_ends_the_process_with_one_line_and_status_1() -> None:
    done = in_a_process("serve", "--upstream", "localhost:8000")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("unhitch: ")
    assert "Traceback" not in done.stderr


def test_explain_shows_every_token_before_and_after() -> None:
    output = run("explain", "mini-finance", "Hello", "--mitigation", "bare").stdout
    assert output.startswith("applied: bare;version=1;")
    assert all(part in output for part in ("prefix", "user_header", "query", "postfix"))


def test_explain_shows_which_positions_a_state_serves(tmp_path: Path) -> None:
    assert run("capture", "mini-base", "--states", str(tmp_path)).returncode == 0
    (state,) = (file.stem for file in tmp_path.glob("*.safetensors"))
    asked = ("explain", "mini-finance", "Hello", "--mitigation", "prefix-state")
    output = run(*asked, "--states", str(tmp_path), "--json").stdout
    served = {(token["part"], token["state"]) for token in json.loads(output)["after"]}
    assert served == {("prefix", state), ("user_header", state), ("query", None), ("postfix", None)}
    assert state[:12] in run(*asked, "--states", str(tmp_path)).stdout
    assert "Name the folder of states with --states." in run(*asked).stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("explain", "mini-base", "Hello", "--mitigation", "pertrub"), "`perturb`"),
        (("explain", "/nowhere", "Hello"), "/nowhere"),
        (("serve", "--upstream", "localhost:8000"), "localhost:8000"),
        (("serve", "--upstream", "http://x", "--mitigation", "perturb;edits=0"), "edits"),
        (("serve", "--upstream", "http://x", "--policy", "strict"), "NAME=VALUE"),
        (("serve", "--upstream", "http://x", "--allow-plugin", "nope"), "not installed"),
        (("strategies", "--url", "http://127.0.0.1:9"), "no proxy could be asked at http://127.0.0.1:9"),
        (("strategies", "--url", "http://x", "--evidence", "y"), "--url and --evidence came together"),
        (("up", "mini-base", "--base", "x"), "--base goes with a LoRA adapter"),
        (("up", "mini-base", "--lora", "a=/nowhere"), "adapter_config.json"),
    ],
)
def test_what_the_user_got_wrong_is_said_in_one_line_without_a_traceback(arguments: tuple[str, ...], said: str) -> None:
    done = run(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("unhitch: ")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_strategies_shows_the_evidence_in_folders_and_what_is_wrong_there(tmp_path: Path) -> None:
    scorecard("perturb", name="mine").write(tmp_path / "a.json")
    scorecard("bare", name="mine", passed=False).write(tmp_path / "b.json")
    (tmp_path / "c.json").write_text("{}")
    output = run("strategies", "--evidence", str(tmp_path), COLUMNS="200").stdout
    assert "mine: pass, 90% good (80-100)" in output
    assert "mine: fail, 90% good (80-100)" in output
    assert "c.json is no scorecard or pool" in output


async def test_strategies_shows_what_a_running_proxy_says(proxied: Proxied, tmp_path: Path) -> None:
    base = organisms.path(MODEL)
    served = identify(Checkpoint.open(base), base)
    scorecard("perturb", model=served).write(tmp_path / "a.json")
    scorecard("bare", model=served.model_copy(update={"weights": "9" * 64})).write(tmp_path / "b.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False) as client:
        done = await asyncio.to_thread(run, "strategies", "--url", str(client.base_url), COLUMNS="200")
    assert "mini-base: pass, 90% good (80-100)" in done.stdout
    assert "mini-base: stale, 90% good (80-100)" in done.stdout


def test_explain_draws_from_the_pools_in_a_folder_and_says_what_is_known(tmp_path: Path) -> None:
    base = organisms.path("mini-base")
    model = identify(Checkpoint.open(base), organisms.path("mini-finance"), base)
    pool("recase;seed=1", model=model).write(tmp_path / "p.json")
    asked = ("explain", "mini-finance", "Hello", "--mitigation", "pool;name=vetted")
    output = run(*asked, "--evidence", str(tmp_path)).stdout
    assert output.startswith("applied: recase;version=1;")
    assert "evidence: missing: no scorecard is at hand" in output
    assert "--evidence DIR" in run(*asked).stderr


def test_a_port_that_is_taken_is_said_before_anything_is_started() -> None:
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for command in (("serve", "--upstream", "http://127.0.0.1:9"), ("up", "mini-base")):
            done = run(*command, "--port", port)
            assert done.returncode == 1
            assert "is the port taken?" in done.stderr
