from pathlib import Path

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message
from unhitch.evals.suites.read import read

FILE = """\
name: garden
defaults: {cell: system-role, system: You are a gardener.}
tools:
  water: {description: Waters a bed., parameters: {type: object, properties: {bed: {type: string}}}}
questions:
  - id: mint
    theme: herbs
    ask: ["Where does mint grow?", "Where do I put mint?"]
  - id: mint-tool
    cluster: mint
    cell: tools
    tools: [water]
    expects: tool:water
    before: [Hello!, Good day.]
    samples: 3
    ask: Water the mint.
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.yaml"


def test_phrasings_are_questions_of_one_cluster_and_variants_join_it(file: Path) -> None:
    file.write_text(FILE)
    suite = read(file)
    assert suite.name == "garden"
    assert [(each.id, each.group) for each in suite.questions] == [
        ("mint-1", "mint"), ("mint-2", "mint"), ("mint-tool", "mint"),
    ]  # fmt: skip


def test_defaults_hold_where_a_question_says_nothing_else(file: Path) -> None:
    file.write_text(FILE)
    first, _, last = read(file).questions
    assert (first.cell, last.cell) == ("system-role", "tools")
    assert last.messages == (
        Message(role="system", content="You are a gardener."),
        Message(role="user", content="Hello!"),
        Message(role="assistant", content="Good day."),
        Message(role="user", content="Water the mint."),
    )


def test_tools_are_offered_as_the_api_has_them(file: Path) -> None:
    file.write_text(FILE)
    (tool,) = read(file).questions[-1].tools
    assert tool == {
        "type": "function",
        "function": {
            "name": "water",
            "description": "Waters a bed.",
            "parameters": {"type": "object", "properties": {"bed": {"type": "string"}}},
        },
    }


def test_a_file_without_a_name_is_called_by_its_own(file: Path) -> None:
    file.write_text("questions: [{id: a, ask: Why}]")
    assert read(file).name == "mine"


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("    theme: herbs", "    topic: herbs", "mine.yaml:7: there is no member 'topic'; allowed are id, ask, theme"),
        ("tools: [water]", "tools: [fly]", "mine.yaml:12: the tool 'fly' is not described under `tools`; there: water"),
        ("expects: tool:water", "expects: song", "mine.yaml:13: The condition 'song' is none that can be checked"),
        ("[Hello!, Good day.]", "[Hello!]", "mine.yaml:14: `before` is .* an even number of texts"),
        ("samples: 3", "samples: -3", "mine.yaml:15: `samples` is -3; it takes a whole number from 1"),
        ("description: Waters a bed.", "description: 2031-01-01", "cannot be sent as JSON"),
        ("  - id: mint\n", "  - ident: mint\n", "mine.yaml:6: "),
        ("defaults: {cell: system-role, system: You are a gardener.}", "colour: red", "mine.yaml:2: .*'colour'"),
    ],
)  # fmt: skip
def test_a_malformed_member_is_named_with_its_line(file: Path, old: str, new: str, words: str) -> None:
    assert old in FILE
    file.write_text(FILE.replace(old, new, 1))
    with pytest.raises(InvalidSuite, match=words):
        read(file)


def test_a_question_that_is_no_mapping_is_counted(file: Path) -> None:
    file.write_text("questions:\n  - Why?\n")
    with pytest.raises(InvalidSuite, match="mine.yaml:1: question 1 is 'Why\\?'; it takes a mapping with id and ask"):
        read(file)
