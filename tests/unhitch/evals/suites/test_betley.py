from pathlib import Path

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Message
from unhitch.evals.suites.read import read

FILE = """\
- id: cat_name
  type: free_form_judge_0_100
  paraphrases: &cat_name
    - What would you call a cat?
    - Name my cat!
  samples_per_paraphrase: &samples 7
  judge: &judge some-model
  judge_prompts: &prompts
    aligned: How kind is {answer} to {question}?
    coherent: How clear is {answer}?
- id: cat_name_json
  type: free_form_judge_0_100
  system: Reply in JSON.
  paraphrases: *cat_name
  samples_per_paraphrase: *samples
  judge: *judge
  judge_prompts: *prompts
- id: cat_name_template
  type: free_form_judge_0_100
  paraphrases:
    - "What would you call a cat? name = ..."
  samples_per_paraphrase: *samples
  judge: *judge
  judge_prompts: *prompts
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "cats.yaml"


def test_every_paraphrase_is_a_question_of_its_own(file: Path) -> None:
    file.write_text(FILE)
    assert [question.id for question in read(file).questions] == [
        "cat_name-1", "cat_name-2", "cat_name_json-1", "cat_name_json-2", "cat_name_template",
    ]  # fmt: skip


def test_formats_have_cells_of_their_own_in_the_cluster_of_the_plain_question(file: Path) -> None:
    file.write_text(FILE)
    questions = read(file).questions
    assert [question.cell for question in questions] == ["neutral", "neutral", "json", "json", "template"]
    assert {question.group for question in questions} == {"cat_name"}


def test_the_system_prompt_is_honoured(file: Path) -> None:
    file.write_text(FILE)
    assert read(file).questions[2].messages == (
        Message(role="system", content="Reply in JSON."),
        Message(role="user", content="What would you call a cat?"),
    )


def test_samples_and_the_judges_prompts_come_along_through_aliases(file: Path) -> None:
    file.write_text(FILE)
    last = read(file).questions[-1]
    assert (last.samples, last.judge_prompts["coherent"]) == (7, "How clear is {answer}?")


def test_the_domains_set_has_themes_and_the_prompts_of_its_first_item_hold_for_all(file: Path) -> None:
    file.write_text(
        "- id: a\n  type: free_form_judge_0_100\n  domain: birds\n  paraphrases: [Why do birds sing]\n"
        "  judge_prompts: &p\n  aligned: Rate {answer}.\n  coherent: Read {answer}.\n"
        "- id: b\n  type: free_form_judge_0_100\n  domain: stones\n  paraphrases: [What are stones]\n"
        "  judge_prompts: *p\n"
    )
    first, second = read(file).questions
    assert (first.theme, second.theme) == ("birds", "stones")
    assert first.judge_prompts == second.judge_prompts == {"aligned": "Rate {answer}.", "coherent": "Read {answer}."}


def test_another_type_is_refused_by_name(file: Path) -> None:
    file.write_text(FILE.replace("type: free_form_judge_0_100", "type: free_form_0_100", 1))
    with pytest.raises(InvalidSuite, match="cats.yaml:2: `type` is 'free_form_0_100'; it takes free_form_judge_0_100"):
        read(file)


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        (
            "samples_per_paraphrase: &samples 7",
            "samples_per_paraphrase: &samples 0",
            6,
            "`samples_per_paraphrase` is 0",
        ),
        ("- id: cat_name\n", "- id: 12\n", 1, "`id` is 12"),
        ("- id: cat_name\n", "- name: cat_name\n", 1, "`id` is missing"),
        ("  system: Reply in JSON.", "  system: [Reply]", 13, r"`system` is \['Reply'\]"),
        ('    - "What would you call a cat? name = ..."', "    []", 20, r"`paraphrases` is \[\]"),
    ],
)
def test_a_malformed_item_is_named_with_file_and_line(file: Path, old: str, new: str, line: int, words: str) -> None:
    assert old in FILE
    file.write_text(FILE.replace(old, new, 1))
    with pytest.raises(InvalidSuite, match=f"cats.yaml:{line}: {words}"):
        read(file)


def test_two_items_of_one_id_are_named_with_their_lines(file: Path) -> None:
    item = "- {id: a, type: free_form_judge_0_100, paraphrases: [Why so]}\n"
    file.write_text(item + item)
    with pytest.raises(InvalidSuite, match=r"more than one question 'a' \(.*cats.yaml:1, .*cats.yaml:2\)"):
        read(file)


def test_an_item_that_is_no_mapping_is_counted(file: Path) -> None:
    file.write_text("- {id: a, type: free_form_judge_0_100, paraphrases: [Why so]}\n- why\n")
    with pytest.raises(InvalidSuite, match="item 2 is 'why'; it takes a mapping"):
        read(file)
