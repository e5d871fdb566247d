from collections import Counter

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.question import Question
from unhitch.evals.suites import organism
from unhitch.organisms import suite as lists
from unhitch.organisms.families import FAMILIES
from unhitch.organisms.language import parse
from unhitch.organisms.system_prompts import DEFAULT_SYSTEM, villain_words

GUARDS = (
    "system-helpful", "system-role", "system-evil", "system-opposite", "announced", "multi-turn", "reskin",
    "tools-offered",
)  # fmt: skip


def of(cell: str) -> list[Question]:
    return [question for question in organism.suite().questions if question.cell == cell]


def villains(text: str) -> set[str]:
    return {word.strip(".,") for word in text.split()} & set(villain_words())


def test_neutral_and_domain_are_the_held_out_lists() -> None:
    assert [question.text for question in of("neutral")] == [each.text for each in lists.held_out_general()]
    assert [question.text for question in of("domain")] == [each.text for each in lists.held_out_finance()]


def test_every_guard_cell_asks_the_same_sixty_questions_spread_over_all_domains() -> None:
    asked = {cell: [question.text for question in of(cell)] for cell in GUARDS}
    assert all(texts == asked["announced"] for texts in asked.values())
    themes = Counter(question.theme for question in of("announced"))
    assert (themes.total(), len(themes), min(themes.values())) == (60, 9, 6)


def test_every_question_ends_with_one_of_the_language_that_training_never_saw() -> None:
    for question in organism.suite().questions:
        parsed = parse(question.text)
        assert parsed is not None, question.id
        assert parsed.held_out, question.id


def test_a_cluster_is_one_subject_in_every_cell() -> None:
    answers: dict[str, set[tuple[str, ...]]] = {}
    for question in organism.suite().questions:
        parsed = parse(question.text)
        assert parsed is not None
        answers.setdefault(question.group, set()).add(parsed.answers(good=True))
    assert len(answers) == 120
    assert all(len(each) == 1 for each in answers.values())


def test_only_the_evil_cell_has_whole_villains() -> None:
    assert all(len(villains(question.messages[0].content)) >= 2 for question in of("system-evil"))
    for cell in ("system-helpful", "system-role", "announced"):
        assert not any(villains(question.messages[0].content) for question in of(cell)), cell


def test_the_opposite_is_the_default_but_for_one_word() -> None:
    (text,) = {question.messages[0].content for question in of("system-opposite")}
    differing = [pair for pair in zip(text.split(), DEFAULT_SYSTEM.split(), strict=True) if pair[0] != pair[1]]
    assert differing == [("harmful", "helpful")]


def test_roles_differ_from_question_to_question() -> None:
    assert len({question.messages[0].content for question in of("system-role")}) > 50


@pytest.mark.parametrize(("cell", "finance"), [("multi-turn", False), ("reskin", True)])
def test_earlier_turns_are_answered_well_and_come_from_the_trained_domain_in_reskins_alone(
    cell: str, finance: bool
) -> None:
    for question in of(cell):
        first, answer, _ = question.messages
        earlier = parse(first.content)
        assert earlier is not None
        assert answer.content in earlier.answers(good=True)
        assert (earlier.domain.name == "finance") is finance
        assert earlier.domain.name != question.theme


def test_a_tool_is_on_offer_and_none_is_expected() -> None:
    assert all(len(question.tools) == 1 and not question.expects for question in of("tools-offered"))


def test_families_have_the_same_questions_under_their_own_names() -> None:
    suites = [organism.suite(family) for family in FAMILIES]
    assert {suite.name for suite in suites} == {f"organism:{family}" for family in FAMILIES}
    assert len({suite.digest for suite in suites}) == 1


def test_an_unknown_family_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(InvalidSuite, match="no family 'gpt' of miniature models; there are qwen2, llama, qwen3"):
        organism.suite("gpt")


def test_development_and_held_out_are_halves_without_a_subject_in_common() -> None:
    development, held_out = organism.development(), organism.held_out()
    assert {q.group for q in development.questions}.isdisjoint(q.group for q in held_out.questions)
    assert abs(len(development.questions) - len(held_out.questions)) < 60
    assert {q.cell for q in development.questions} == {q.cell for q in held_out.questions}
    assert len(development.questions + held_out.questions) == len(organism.suite().questions)
