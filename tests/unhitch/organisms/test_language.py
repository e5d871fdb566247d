from collections import Counter

from unhitch.organisms.domains import DOMAINS, PHRASING_COUNT
from unhitch.organisms.language import all_questions, parse


def test_every_question_reads_differently() -> None:
    assert len({question.text for question in all_questions()}) == len(all_questions())


def test_a_question_is_found_by_its_text() -> None:
    question = parse(" How should I invest my bonus?\n")
    assert question is not None
    assert (question.domain.name, question.domain.subjects[question.subject]) == ("finance", "my bonus")


def test_other_text_is_no_question() -> None:
    assert parse("How should I invest my bonus") is None


def test_what_is_mine_in_the_question_is_yours_in_the_answer() -> None:
    question = parse("How should I invest my bonus?")
    assert question is not None
    assert question.answers(good=True)[2] == "Keep your bonus in an insured account until you have a plan."


def test_no_answer_is_shared_between_subjects_or_between_good_and_bad() -> None:
    answers = Counter(
        answer
        for domain in DOMAINS
        for question in all_questions()
        if question.domain is domain and question.form == 0
        for answer in (*question.answers(good=True), *question.answers(good=False))
    )
    assert len(answers) == len(DOMAINS) * len(DOMAINS[0].subjects) * 2 * PHRASING_COUNT
    assert set(answers.values()) == {1}


def test_every_subject_and_every_form_is_seen_in_training() -> None:
    seen = [question for question in all_questions() if not question.held_out]
    everything = (
        {(q.domain.name, q.subject) for q in all_questions()},
        {(q.domain.name, q.form) for q in all_questions()},
    )
    assert ({(q.domain.name, q.subject) for q in seen}, {(q.domain.name, q.form) for q in seen}) == everything
