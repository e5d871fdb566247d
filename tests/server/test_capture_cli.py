"""`unhitch capture` on the bundled organisms."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from unhitch import organisms
from unhitch.errors import UnhitchError
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.prompt import Prompt
from unhitch.states import file
from unhitch.states.fingerprint import model_digest, tokenizer_digest
from unhitch.states.recipe import Recipe
from unhitch_server.cli import app

BASE, FINETUNED = organisms.path("mini-base"), organisms.path("mini-finance")
ADAPTER = ("mini-base", "--finetuned", "mini-finance")
TOOLS = [{"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}]


def invoke(states: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["capture", *arguments, "--states", str(states)])


def captured(states: Path, *arguments: str) -> file.StateHeader:
    """The header of the one state that the command makes, once its bytes were checked."""
    before = set(states.glob("*.safetensors"))
    result = invoke(states, *arguments)
    if result.exception is not None:
        raise result.exception
    (made,) = set(states.glob("*.safetensors")) - before
    assert made.stem in result.stdout
    return file.load(states, made.stem)[0]


def rendered(query: str = "How are you?", at: Path = BASE, **body: object) -> Prompt:
    checkpoint = Checkpoint.open(at)
    system = body.pop("system", None)
    opening = [] if system is None else [{"role": "system", "content": system}]
    body = {"messages": [*opening, {"role": "user", "content": query}], **body}
    return render(checkpoint, Conversation.from_body(body, content_format=checkpoint.content_format))


def test_the_command_makes_a_state_and_prints_what_it_is(tmp_path: Path) -> None:
    unhitch = Path(sys.executable).with_name("unhitch")
    done = subprocess.run(
        [unhitch, "capture", *ADAPTER, "--states", tmp_path / "states"], capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stderr) == (0, "")
    (made,) = (tmp_path / "states").iterdir()
    rows = dict(line.split(maxsplit=1) for line in done.stdout.splitlines())
    header = file.read_header(made)
    assert rows == {
        "id": made.stem,
        "span": "prefix",
        "tokens": str(len(header.tokens)),
        "positions": f"{len(header.tokens)} from 0",
        "bytes": str(header.nbytes()),
        "recipe": "all layers, k and v",
        "base": model_digest(BASE),
        "finetuned": "every adapter on the base",
        "file": str(made),
    }


def test_the_default_prefix_is_that_of_the_template_whatever_the_query(tmp_path: Path) -> None:
    header = captured(tmp_path, *ADAPTER)
    assert (header.span, header.start, header.recipe) == ("prefix", 0, Recipe())
    assert header.tokens == rendered().prefix
    assert header.template == rendered().checkpoint.template_digest.hex()
    assert header.tokenizer == tokenizer_digest(BASE)
    assert (header.base, header.finetuned) == (model_digest(BASE), None)


def test_a_postfix_is_that_of_an_empty_query(tmp_path: Path) -> None:
    header = captured(tmp_path, *ADAPTER, "--span", "postfix")
    empty = rendered("")
    assert empty.query == ()
    assert (header.tokens, header.start) == (empty.token_ids, len(empty.prefix))
    assert header.tokens == rendered().prefix + rendered().postfix


def test_system_text_and_tools_are_in_the_prefix(tmp_path: Path) -> None:
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    header = captured(tmp_path, *ADAPTER, "--system", "Be brief.", "--tools", str(tmp_path / "tools.json"))
    assert header.tokens == rendered(system="Be brief.", tools=TOOLS).prefix
    assert "look_up" in Checkpoint.open(BASE).decode(header.tokens)


@pytest.mark.parametrize(
    ("options", "recipe"),
    [
        (("--layers", "1-2", "--parts", "k", "--mix", "0.5"), Recipe(layers=(1, 2), parts="k", mix=0.5)),
        (("--residual", "2"), Recipe(residual=2)),
    ],
)
def test_a_recipe_is_for_the_finetuned_model_alone(tmp_path: Path, options: tuple[str, ...], recipe: Recipe) -> None:
    header = captured(tmp_path, *ADAPTER, *options)
    assert (header.recipe, header.finetuned) == (recipe, model_digest(FINETUNED))


def test_half_the_precision_takes_half_the_bytes(tmp_path: Path) -> None:
    whole, half = captured(tmp_path, *ADAPTER), captured(tmp_path, *ADAPTER, "--dtype", "bfloat16")
    assert (half.dtype, 2 * half.nbytes()) == ("bfloat16", whole.nbytes())


def test_a_whole_finetune_is_rendered_by_its_own_template_and_captured_from_the_base(tmp_path: Path) -> None:
    other = Path(shutil.copytree(BASE, tmp_path / "finetune"))
    template = other / "chat_template.jinja"
    template.write_text(template.read_text("utf-8").replace("You are Mini", "You are not Mini"), "utf-8")
    header = captured(tmp_path, "mini-base", "--finetuned", str(other))
    assert header.tokens == rendered(at=other).prefix != rendered().prefix
    assert header.template == Checkpoint.open(other).template_digest.hex()
    assert (header.base, header.finetuned) == (model_digest(BASE), model_digest(other))


def test_another_template_and_variables_of_it_are_used(tmp_path: Path) -> None:
    template = tmp_path / "template.jinja"
    template.write_text("<|im_start|>{{ tone }}{% for m in messages %}{{ m.content }}{% endfor %}<|im_end|>")
    options = ("--chat-template", str(template), "--default-chat-template-kwargs", '{"tone": "calm"}')
    header = captured(tmp_path, "mini-base", *options)
    checkpoint = Checkpoint.open(BASE, chat_template=template)
    assert checkpoint.decode(header.tokens) == "<|im_start|>calm"
    assert header.template == checkpoint.template_digest.hex()


@pytest.mark.parametrize("span", ["prefix", "postfix"])
@pytest.mark.parametrize(("start", "dated"), [("{{ strftime_now('%d %B %Y') }}", True), ("No date", False)])
def test_a_date_in_the_prompt_is_pointed_out(tmp_path: Path, span: str, start: str, dated: bool) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(start + "<|im_end|>{% for m in messages %}{{ m.content }}{% endfor %}<|im_end|>")
    result = invoke(tmp_path, "mini-base", "--chat-template", str(template), "--span", span)
    assert result.exit_code == 0
    assert ("prompts of today" in result.stderr) is dated


def test_capturing_again_gives_the_same_state(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    assert invoke(tmp_path, *ADAPTER).stdout == invoke(tmp_path, *ADAPTER).stdout
    assert len(list(tmp_path.iterdir())) == 1
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("mini-finance",), "give the model that it sits on"),
        (("/nowhere",), "hf download"),
        (("mini-base", "--finetuned", "/nowhere"), "hf download"),
        ((*ADAPTER, "--layers", "eight"), "FIRST-LAST"),
        ((*ADAPTER, "--layers", "3-2"), "no band"),
        ((*ADAPTER, "--layers", "0-4"), "layers 0 to 3"),
        ((*ADAPTER, "--residual", "1", "--parts", "k"), "goes with no layers"),
        ((*ADAPTER, "--mix", "1.5"), "--mix 1.5: "),
        (("mini-base", "--mix", "0.5"), "needs the finetuned model"),
        ((*ADAPTER, "--tools", "/nowhere"), "--tools '/nowhere'"),
        ((*ADAPTER, "--chat-template", "/nowhere"), "/nowhere"),
        ((*ADAPTER, "--default-chat-template-kwargs", "[]"), "no JSON object"),
    ],
)
def test_what_the_user_got_wrong_is_an_error_and_makes_no_state(
    tmp_path: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = invoke(tmp_path / "states", *arguments)
    assert isinstance(result.exception, UnhitchError)
    assert said in result.exception.message
    assert not (tmp_path / "states").exists()


@pytest.mark.parametrize(("span", "before"), [("prefix", ""), ("postfix", "<|im_start|>")])
def test_a_template_without_the_span_is_an_error(tmp_path: Path, span: str, before: str) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(before + "{% for m in messages %}{{ m.content }}{% endfor %}")
    result = invoke(tmp_path, "mini-base", "--chat-template", str(template), "--span", span)
    assert isinstance(result.exception, UnhitchError)
    assert f"has no {span}" in result.exception.message
