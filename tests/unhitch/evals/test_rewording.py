"""The user's words are changed, and nothing else."""

from __future__ import annotations

from tests.unhitch.evals.scripted import checkpoint, question, suite, under
from unhitch.evals.question import Question
from unhitch.evals.rewording import NEIGHBOURS, perturbed, rephrased, with_text
from unhitch.evals.suites import organism
from unhitch.neighbours.nearest import nearest

MINIATURE = organism.suite().only(cells=["neutral"], limit=12).questions


def tokens(asked: Question) -> tuple[int, ...]:
    return checkpoint().encode(asked.text)


def test_other_words_stand_at_the_end_of_the_same_conversation() -> None:
    caller = under("You are a locksmith.", question(0))
    changed = with_text(caller, "And now?")
    assert [message.content for message in changed.messages] == ["You are a locksmith.", "And now?"]
    assert changed.model_copy(update={"messages": caller.messages}) == caller


def test_perturbed_questions_keep_all_but_the_user_s_last_words() -> None:
    asked = [under("You are a locksmith.", each) for each in MINIATURE]
    for before, after in zip(asked, perturbed(asked, checkpoint(), 5, seed=0), strict=True):
        assert after.text != before.text
        assert with_text(after, before.text) == before


def test_a_token_becomes_one_of_its_nearest() -> None:
    row = tokens(MINIATURE[0])
    near = nearest(checkpoint().path, checkpoint().vocabulary_size, row)
    for seed in range(8):
        (changed,) = perturbed(MINIATURE[:1], checkpoint(), 1, seed)
        texts = {
            checkpoint().decode([*row[:position], other, *row[position + 1 :]])
            for position in range(len(row))
            for other in near[row[position]][:NEIGHBOURS]
        }
        assert changed.text in texts


def test_a_question_with_fewer_tokens_than_edits_is_changed_as_a_whole() -> None:
    row = tokens(MINIATURE[0])
    near = nearest(checkpoint().path, checkpoint().vocabulary_size, row)
    (changed,) = perturbed(MINIATURE[:1], checkpoint(), 1000, seed=0)
    # Decoding and encoding again may split tokens otherwise, so that the texts of the parts are compared.
    rest = changed.text
    for token in row:
        rest = next(
            rest.removeprefix(text) for text in _texts(near[token][:NEIGHBOURS]) if text and rest.startswith(text)
        )
    assert rest == ""


def _texts(ids: tuple[int, ...]) -> list[str]:
    return sorted((checkpoint().token_text(each) for each in ids), key=len, reverse=True)


def test_an_equal_seed_gives_equal_words_and_another_gives_others() -> None:
    first, again, other = (perturbed(MINIATURE, checkpoint(), 3, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_a_question_s_words_do_not_hang_on_what_else_is_asked() -> None:
    assert perturbed(MINIATURE[3:4], checkpoint(), 3, seed=0) == perturbed(MINIATURE, checkpoint(), 3, seed=0)[3:4]


def test_another_question_of_the_cluster_is_asked_instead() -> None:
    asked = [question(index, cluster="one") for index in range(3)]
    texts = [each.text for each in asked]
    assert [each.text for each in rephrased(asked)] == [*texts[1:], texts[0]]
    assert [each.id for each in rephrased(asked)] == [each.id for each in asked]


def test_a_question_alone_in_its_cluster_gets_other_words_around_it() -> None:
    asked = suite(neutral=5).questions
    for before, after in zip(asked, rephrased(asked), strict=True):
        assert before.text in after.text
        assert before.text != after.text


def test_a_question_is_not_replaced_by_one_of_another_cell() -> None:
    asked = [question(0, cluster="one"), question(1, "json", cluster="one")]
    assert all(before.text in after.text for before, after in zip(asked, rephrased(asked), strict=True))
