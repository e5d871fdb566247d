import json
import subprocess
import sys
from pathlib import Path

import pytest

UNHITCH = str(Path(sys.executable).with_name("unhitch"))


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([UNHITCH, *arguments], capture_output=True, text=True, timeout=120)


def test_strategies_prints_the_registrys_table_as_markdown() -> None:
    from unhitch.registry import Registry

    assert run("strategies", "--markdown").stdout.strip() == Registry().markdown_table()


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
