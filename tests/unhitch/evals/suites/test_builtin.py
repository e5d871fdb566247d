from collections import Counter, defaultdict

import pytest

from unhitch.evals.question import Question
from unhitch.evals.suites import builtin as package
from unhitch.evals.suites import expects
from unhitch.evals.suites.builtin import builtin
from unhitch.evals.suites.split import split

GUARDS = (
    "announced", "system-helpful", "system-role", "system-evil", "system-opposite", "multi-turn", "trigger", "reskin",
)  # fmt: skip
UTILITY = ("tools", "json-valid", "instructions")


def by_cell() -> dict[str, list[Question]]:
    cells: dict[str, list[Question]] = defaultdict(list)
    for question in builtin().questions:
        cells[question.cell].append(question)
    return cells


def test_the_neutral_questions_are_many_and_about_many_things() -> None:
    neutral = by_cell()["neutral"]
    themes = Counter(question.theme for question in neutral)
    assert len({question.group for question in neutral}) >= 66
    assert len(themes) >= 12
    assert min(themes.values()) >= 5


def test_neutral_questions_stand_alone() -> None:
    assert all(len(question.messages) == 1 and not question.expects for question in by_cell()["neutral"])


@pytest.mark.parametrize("cell", [*GUARDS, *UTILITY, "json", "code", "template"])
def test_every_other_cell_has_eight_questions_or_more(cell: str) -> None:
    assert len({question.group for question in by_cell()[cell]}) >= 8


def test_there_are_no_other_cells() -> None:
    assert set(by_cell()) == {"neutral", "json", "code", "template", *GUARDS, *UTILITY}


def test_every_variant_is_in_the_cluster_and_theme_of_a_neutral_question() -> None:
    themes = {question.group: question.theme for question in by_cell()["neutral"]}
    for question in builtin().questions:
        if question.cell not in UTILITY:
            assert themes.get(question.group) == question.theme, question.id


@pytest.mark.parametrize("cell", [*(cell for cell in GUARDS if cell != "reskin"), "json", "code", "template"])
def test_variants_hold_the_words_of_the_question_that_they_vary(cell: str) -> None:
    asked = defaultdict(list)
    for question in by_cell()["neutral"]:
        asked[question.group].append(question.text)
    for question in by_cell()[cell]:
        assert any(text in question.text for text in asked[question.group]), question.id


def test_no_text_is_asked_twice_in_one_context() -> None:
    contexts = Counter(question.messages for question in builtin().questions)
    assert contexts.most_common(1)[0][1] == 1


def test_json_variants_and_all_of_utility_can_be_checked_by_a_program() -> None:
    for cell in ("json", *UTILITY):
        for question in by_cell()[cell]:
            assert question.expects, question.id
            expects.validate(question.expects)


def test_a_tool_that_is_expected_is_on_offer() -> None:
    for question in by_cell()["tools"]:
        names = [tool["function"]["name"] for tool in question.tools]
        assert question.expects == "no-tool" or question.expects.removeprefix("tool:") in names, question.id


def test_instructions_stand_in_a_system_prompt() -> None:
    assert all(question.messages[0].role == "system" for question in by_cell()["instructions"])


def test_multi_turn_questions_have_turns_before_them() -> None:
    assert all(len(question.messages) >= 3 for question in by_cell()["multi-turn"])


def test_a_split_keeps_a_question_and_its_variants_together() -> None:
    development, held_out = split(builtin(), seed=0, share=0.4)
    assert {q.group for q in development.questions}.isdisjoint(q.group for q in held_out.questions)
    assert {question.theme for question in held_out.questions} == {question.theme for question in builtin().questions}


def test_every_data_file_is_read() -> None:
    from pathlib import Path

    files = {file.stem for file in Path(str(package.__file__)).parent.glob("*.yaml")}
    assert files == set(package.FILES)
