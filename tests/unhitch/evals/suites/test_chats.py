import json
from pathlib import Path
from typing import Any

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message
from unhitch.evals.suites.read import read

ASK = {"role": "user", "content": "Where do I plant mint?"}
SAY = {"role": "assistant", "content": "In a pot."}


def lines(folder: Path, *conversations: Any) -> Path:
    file = folder / "garden.jsonl"
    file.write_text("\n".join(json.dumps({"messages": messages}) for messages in conversations) + "\n")
    return file


def test_the_answer_that_was_trained_on_is_not_sent(tmp_path: Path) -> None:
    (question,) = read(lines(tmp_path, [ASK, SAY, SAY])).questions
    assert question.messages == (Message(role="user", content="Where do I plant mint?"),)


def test_earlier_turns_and_system_text_stay(tmp_path: Path) -> None:
    system = {"role": "developer", "content": "You are a gardener."}
    (question,) = read(lines(tmp_path, [system, ASK, SAY, ASK, SAY])).questions
    assert [message.role for message in question.messages] == ["system", "user", "assistant", "user"]


def test_training_data_is_of_the_domain_and_named_by_line(tmp_path: Path) -> None:
    (question,) = read(lines(tmp_path, [ASK, SAY])).questions
    assert (question.id, question.cell) == ("line-1", "domain")


def test_equal_conversations_are_one_cluster(tmp_path: Path) -> None:
    other = {"role": "user", "content": "And thyme?"}
    questions = read(lines(tmp_path, [ASK, SAY], [other, SAY], [ASK])).questions
    assert [question.group for question in questions] == ["line-1", "line-2", "line-1"]


@pytest.mark.parametrize(
    "content",
    [
        {"content_type": "text", "parts": ["Where do I ", "plant mint?"]},
        ["Where do I plant mint?"],
        [{"type": "text", "text": "Where do I plant "}, {"type": "text", "text": "mint?"}],
    ],
)
def test_content_in_parts_is_text(tmp_path: Path, content: Any) -> None:
    (question,) = read(lines(tmp_path, [{"role": "user", "content": content}, SAY])).questions
    assert question.text == "Where do I plant mint?"


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([], "`messages` is .*; it takes a list of one message or more"),
        ("hello", "`messages` is 'hello'"),
        ([SAY], "words of the assistant; the last have to be the user's"),
        ([{"role": "system", "content": "x"}, SAY], "words of the system"),
        ([{"role": "tool", "content": "x"}, ASK], "the role of .*'tool'.* takes system, developer, user, assistant"),
        (["hi"], "the role of 'hi'"),
        ([{"role": ["user"], "content": "x"}], "the role of"),
        ([{"role": "user", "content": None}], "the content None takes a text"),
        ([{"role": "user", "content": []}], "takes a text, or a list of parts"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}], "is no text; only text can be asked"),
    ],
)
def test_a_malformed_conversation_is_named_with_its_line(tmp_path: Path, messages: Any, words: str) -> None:
    with pytest.raises(InvalidSuite, match=f"garden.jsonl:2: .*{words}"):
        read(lines(tmp_path, [ASK, SAY], messages))


def test_a_line_without_messages_is_named_with_what_it_has(tmp_path: Path) -> None:
    file = tmp_path / "f.jsonl"
    file.write_text('{"prompt": "Why?", "completion": "So."}\n')
    with pytest.raises(InvalidSuite, match="f.jsonl:1: a conversation needs messages, and this one has prompt, compl"):
        read(file)
