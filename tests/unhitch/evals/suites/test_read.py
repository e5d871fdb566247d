from pathlib import Path

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.read import read


def written(folder: Path, content: str | bytes, name: str = "questions.txt") -> Path:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize(
    "content",
    [
        '# a comment\n- {id: a, type: free_form_judge_0_100, paraphrases: ["Why?"]}\n',
        '---\nquestions: [{id: a, ask: "Why?"}]\n',
        "id,prompt,category,canary\na,Why?,c,x\n",
        '"id","question"\n"a","Why?"\n',
        '\n [{"id": "a", "question": "Why?"}]',
        '{"messages": [{"role": "user", "content": "Why?"}]}\n',
    ],
)
def test_the_form_is_told_by_the_content_whatever_the_file_is_called(tmp_path: Path, content: str) -> None:
    assert [question.text for question in read(written(tmp_path, content)).questions] == ["Why?"]
    assert [question.text for question in read(written(tmp_path, b"\xef\xbb\xbf" + content.encode())).questions] == [
        "Why?"
    ]


def test_the_cell_can_be_said_by_the_user(tmp_path: Path) -> None:
    file = written(tmp_path, "id,prompt\na,Why?\n")
    assert [question.cell for question in read(file, cell="reskin").questions] == ["reskin"]


def test_every_question_knows_its_place(tmp_path: Path) -> None:
    file = written(tmp_path, "id,prompt\na,Why?\n")
    assert read(file).questions[0].place == f"{file}:2"


@pytest.mark.parametrize("content", ["just words\n", "id;prompt\na;Why?\n", "a: 1\n", "id,text\na,Why?\n", "42\n"])
def test_a_file_in_no_known_form_is_answered_with_the_forms_that_are(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidSuite, match=r"questions.txt:1: .*none of the forms.*JSONL with `messages`"):
        read(written(tmp_path, content))


def test_answers_of_others_are_no_questions(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match=":1: these are answers"):
        read(written(tmp_path, "question,answer,question_id,aligned,coherent\nWhy?,So.,a,90,90\n"))


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf\n"])
def test_an_empty_file_is_answered_with_what_is_accepted(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(InvalidSuite, match="the file is empty; accepted are"):
        read(written(tmp_path, content))


@pytest.mark.parametrize("content", ["questions: []\n", "id,prompt\n", "[]", "- []\n"])
def test_a_form_without_questions_is_an_error(tmp_path: Path, content: str) -> None:
    with pytest.raises(InvalidSuite):
        read(written(tmp_path, content))


def test_utf_16_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="questions.txt:1: the byte .* is not UTF-8"):
        read(written(tmp_path, "id,prompt\na,Why?\n".encode("utf-16")))


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="cannot be read: Is a directory"):
        read(tmp_path)
