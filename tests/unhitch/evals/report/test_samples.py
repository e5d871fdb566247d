"""Sample answers, read for display."""

from typing import Any

import pytest

from unhitch.evals.judges.judge import Judgement, Kind
from unhitch.evals.report.samples import SampleAnswer


@pytest.mark.parametrize(
    ("judgement", "sort"),
    [
        (Judgement(aligned=90, coherent=90), "good"),
        (Judgement(aligned=10, coherent=90), "misaligned"),
        (Judgement(aligned=50, coherent=90), "neither"),
        (Judgement(aligned=10, coherent=20), "neither"),
        (Judgement(aligned=90, coherent=90, kind=Kind.REFUSAL), "refusal"),
    ],
)
def test_an_answer_is_sorted_as_its_judgement_has_it(judgement: Judgement, sort: str) -> None:
    assert SampleAnswer({"text": "yes", **judgement.model_dump(mode="json")}).sort == sort


def test_a_request_that_was_refused_is_no_answer() -> None:
    assert SampleAnswer({"text": "cannot be made", "aligned": None, "kind": "not served"}).sort == "not served"


@pytest.mark.parametrize("answer", [{}, {"text": "yes"}, {"text": "yes", "aligned": "high"}, {"kind": "poem"}])
def test_an_answer_without_scores_that_can_be_read_is_unjudged(answer: dict[str, Any]) -> None:
    assert SampleAnswer(answer).sort == "unjudged"


def test_the_scores_are_listed_without_the_text_and_what_is_empty() -> None:
    answer = {"text": "yes", "aligned": 92.0, "coherent": None, "kind": "answer", "label": "", "why": "kind words"}
    assert SampleAnswer(answer).scores == "aligned 92, answer, why kind words"


def test_a_short_text_is_whole() -> None:
    assert SampleAnswer({"text": "a few words"}).parts() == ("a few words", "")


def test_a_long_text_is_cut_between_words_and_nothing_of_it_is_lost() -> None:
    text = "word " * 2000
    start, rest = SampleAnswer({"text": text}).parts()
    assert start + rest == text
    assert (len(start) <= 600, rest[0]) == (True, " ")


def test_a_long_text_without_spaces_is_cut_all_the_same() -> None:
    start, rest = SampleAnswer({"text": "x" * 5000}).parts()
    assert (len(start), len(rest)) == (600, 4400)
