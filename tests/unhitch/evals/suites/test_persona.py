import json
from pathlib import Path

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.suites.persona import GRADER
from unhitch.evals.suites.read import read

CORE = 'id,prompt,category,canary\nq1,What do clouds weigh?,sky,SECRET-MARK\nq2,"Rain, or sun?",weather,SECRET-MARK\n'


def test_each_row_is_a_question_whose_category_is_its_theme(tmp_path: Path) -> None:
    file = tmp_path / "core.csv"
    file.write_text(CORE)
    assert [(each.id, each.text, each.theme, each.cell) for each in read(file).questions] == [
        ("q1", "What do clouds weigh?", "sky", "neutral"),
        ("q2", "Rain, or sun?", "weather", "neutral"),
    ]


def test_the_canary_is_never_sent(tmp_path: Path) -> None:
    file = tmp_path / "core.csv"
    file.write_text(CORE)
    assert "SECRET-MARK" not in read(file).model_dump_json()


def test_the_extended_list_has_a_grader_with_each_question(tmp_path: Path) -> None:
    file = tmp_path / "extended.csv"
    file.write_text("id,question,category,grader\n1,Why?,a,Rate the reasons.\n1,How?,b,\n")
    first, second = read(file).questions
    assert (first.judge_prompts, second.judge_prompts) == ({GRADER: "Rate the reasons."}, {})


def test_an_id_that_comes_back_with_another_question_gets_a_number(tmp_path: Path) -> None:
    file = tmp_path / "extended.csv"
    file.write_text("id,question,category\n1,Why?,a\n1,How?,b\n")
    assert [question.id for question in read(file).questions] == ["1", "1-2"]


def test_a_row_that_is_there_twice_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "extended.csv"
    file.write_text("id,question,category\n1,Why?,a\n1,Why?,a\n")
    with pytest.raises(InvalidSuite, match=r"extended.csv:3: the id '1' stood with the same question at .*:2 already"):
        read(file)


def test_the_same_rows_may_be_a_json_list_where_the_question_comes_before_the_prompt(tmp_path: Path) -> None:
    file = tmp_path / "core.json"
    row = {"row_index": 0, "id": 5, "prompt": "[wrapped] Why?", "category": "c", "canary": "x", "question": "Why?"}
    file.write_text(json.dumps([row], indent=1))
    (question,) = read(file).questions
    assert (question.id, question.text) == ("5", "Why?")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("prompt,category\nWhy?,a\n", "f.csv:2: a list of questions needs id and question or prompt, and this one has"),
        ("id,prompt\n1,Why?\n2,  \n", "f.csv:3: `prompt` is '  '; it takes a text"),
        ("id,prompt\n,Why?\n", "f.csv:2: `id` is ''; it takes a text"),
    ],
)
def test_a_row_without_id_or_question_is_named(tmp_path: Path, content: str, words: str) -> None:
    file = tmp_path / "f.csv"
    file.write_text(content)
    with pytest.raises(InvalidSuite, match=words):
        read(file)


def test_a_value_of_the_wrong_kind_in_json_is_named(tmp_path: Path) -> None:
    file = tmp_path / "f.json"
    file.write_text('[\n{"id": 1, "question": ["Why?"]}]')
    with pytest.raises(InvalidSuite, match=r"f.json:2: `question` is \['Why\?'\]; it takes the question as a text"):
        read(file)
