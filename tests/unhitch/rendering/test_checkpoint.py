"""A tokenizer and a chat template, read from files."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from tests.templates.checkpoints import CONTROL_TOKENS, FOLDER, PLAIN_TOKENS, source, wrapped
from unhitch import organisms
from unhitch.errors import CheckpointError, InvalidBody, MitigationUnavailable
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation

USER = {"role": "user", "content": "How?"}
TEXTS = ("", "How?", "  <|im_start|>user\n", "Zoe\u0308 \U0001f600 \u4e16\u754c", "a  b\n\n c ", "<think>\n</think>")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint")
    wrapped(source("qwen25")).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return Checkpoint.open(folder)


def test_name_and_path_tell_where_it_came_from(checkpoint: Checkpoint, folder: Path) -> None:
    assert (checkpoint.name, checkpoint.path) == (str(folder), folder)


@pytest.mark.parametrize("text", TEXTS)
def test_token_ids_are_those_of_transformers(checkpoint: Checkpoint, text: str) -> None:
    expected = wrapped(None).encode(text, add_special_tokens=False)
    assert list(checkpoint.encode(text)) == expected
    assert list(checkpoint.encode_with_offsets(text).ids) == expected


@pytest.mark.parametrize("text", TEXTS)
def test_decoding_gives_back_every_character(checkpoint: Checkpoint, text: str) -> None:
    assert checkpoint.decode(checkpoint.encode(text)) == text


@pytest.mark.parametrize("text", TEXTS)
def test_offsets_leave_no_character_out(checkpoint: Checkpoint, text: str) -> None:
    encoding = checkpoint.encode_with_offsets(text)
    assert {i for start, stop in encoding.offsets for i in range(start, stop)} == set(range(len(text)))
    assert len(encoding.offsets) == len(encoding.ids)


def test_control_tokens_are_the_added_ones_that_are_special(checkpoint: Checkpoint) -> None:
    assert {checkpoint.token_text(token) for token in checkpoint.special_ids} == set(CONTROL_TOKENS)
    assert all(checkpoint.encode(text)[0] not in checkpoint.special_ids for text in PLAIN_TOKENS)


def test_part_of_a_character_shows_as_replacement(checkpoint: Checkpoint) -> None:
    assert checkpoint.token_text(checkpoint.encode("\U0001f600")[0]) == "\ufffd"


def test_the_vocabulary_counts_added_tokens(checkpoint: Checkpoint) -> None:
    assert checkpoint.vocabulary_size == 600 + len(PLAIN_TOKENS)


def test_the_bos_token_is_known_and_framed_only_on_request(checkpoint: Checkpoint) -> None:
    assert checkpoint.bos_id is not None
    assert (checkpoint.added_before, checkpoint.added_after) == ((checkpoint.bos_id,), ())
    assert checkpoint.bos_id not in checkpoint.encode("How?")


def test_half_of_a_surrogate_pair_is_refused(checkpoint: Checkpoint) -> None:
    with pytest.raises(InvalidBody, match="surrogate"):
        checkpoint.encode("a\ud800")


def test_the_template_is_identified_by_its_digest(checkpoint: Checkpoint, folder: Path) -> None:
    assert checkpoint.template_digest == hashlib.sha256(source("qwen25").encode()).digest()
    assert Checkpoint.open(folder, chat_template=source("chatml")).template_digest != checkpoint.template_digest


def test_a_template_is_given_as_source_or_as_file(folder: Path) -> None:
    given: list[str | Path] = [source("chatml"), FOLDER / "chatml.jinja", str(FOLDER / "chatml.jinja")]
    assert {Checkpoint.open(folder, chat_template=template).template for template in given} == {source("chatml")}


def test_a_template_for_tools_is_used_for_requests_with_tools(tmp_path: Path) -> None:
    tokenizer = wrapped(None)
    tokenizer.chat_template = {"default": "plain", "tool_use": "tools: {{ tools | length }}"}
    tokenizer.save_pretrained(tmp_path)
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.render_text(Conversation((USER,))) == "plain"
    assert checkpoint.render_text(Conversation((USER,), tools=({"type": "function"},))) == "tools: 1"
    assert checkpoint.template_digest == hashlib.sha256(b"plain\0tools: {{ tools | length }}").digest()


def test_the_date_is_the_one_that_is_asked_for(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder, chat_template="{{ strftime_now('%d %b %Y') }}")
    assert checkpoint.render_text(Conversation((USER,)), instant=datetime(2024, 2, 29)) == "29 Feb 2024"
    assert checkpoint.render_text(Conversation((USER,))) == datetime.now().strftime("%d %b %Y")


def test_a_developer_message_reaches_templates_that_know_the_role(folder: Path) -> None:
    template = "{% for m in messages %}{{ m.role }}{% endfor %}"
    conversation = Conversation(({"role": "developer", "content": "x"}, USER))
    assert Checkpoint.open(folder, chat_template=template).render_text(conversation) == "systemuser"
    template += "{# 'developer' #}"
    assert Checkpoint.open(folder, chat_template=template).render_text(conversation) == "developeruser"


def test_a_refusal_of_the_template_is_passed_on_in_its_words(folder: Path) -> None:
    checkpoint = Checkpoint.open(folder, chat_template="{{ raise_exception('no such role') }}")
    with pytest.raises(MitigationUnavailable, match="no such role"):
        checkpoint.render_text(Conversation((USER,)))


def test_a_name_that_is_neither_folder_nor_cached_model_is_refused() -> None:
    for name in ("nobody/no-such-model", "no such/name at all"):
        with pytest.raises(CheckpointError, match="neither a folder nor a model"):
            Checkpoint.open(name)


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="tokenizer"):
        Checkpoint.open(tmp_path)


def test_a_checkpoint_without_template_is_refused_with_advice(tmp_path: Path) -> None:
    wrapped(None).save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match=r"has no chat template\. Pass the one"):
        Checkpoint.open(tmp_path)


def test_a_template_file_that_is_missing_is_refused(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"missing\.jinja"):
        Checkpoint.open(folder, chat_template="missing.jinja")


def test_truncation_and_padding_in_the_files_have_no_effect(tmp_path: Path) -> None:
    tokenizer = wrapped(source("chatml"))
    tokenizer.backend_tokenizer.enable_truncation(4)
    tokenizer.backend_tokenizer.enable_padding(length=64)
    tokenizer.save_pretrained(tmp_path)
    text = "You are a helpful assistant. " * 3
    checkpoint = Checkpoint.open(tmp_path)
    assert checkpoint.decode(checkpoint.encode(text)) == text


def test_threads_get_what_one_thread_gets(checkpoint: Checkpoint) -> None:
    conversations = [
        Conversation(({"role": "user", "content": f"{number} {text}"},)) for number in range(25) for text in TEXTS
    ]
    expected = [checkpoint.encode(checkpoint.render_text(conversation)) for conversation in conversations]
    with ThreadPoolExecutor(8) as pool:
        made = list(
            pool.map(lambda conversation: checkpoint.encode(checkpoint.render_text(conversation)), conversations)
        )
    assert made == expected


def test_checkpoints_can_be_opened_first_from_several_threads() -> None:
    script = (
        "import sys, threading; from unhitch.rendering.checkpoint import Checkpoint; opened = [];"
        "work = lambda: opened.append(Checkpoint.open(sys.argv[1]));"
        "threads = [threading.Thread(target=work) for _ in range(4)];"
        "[t.start() for t in threads]; [t.join() for t in threads]; print(len(opened))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", script, str(organisms.path("mini-base"))],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "4", done.stderr
