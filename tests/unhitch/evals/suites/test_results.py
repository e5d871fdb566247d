from pathlib import Path

import pytest

from unhitch.errors import InvalidSuite
from unhitch.evals.judges.judge import Judgement, Kind
from unhitch.evals.suites import results

HEADER = "question,answer,question_id,aligned,coherent\n"


def written(folder: Path, content: str) -> Path:
    file = folder / "results.csv"
    file.write_text(content)
    return file


def test_answers_come_with_their_ratings_in_order(tmp_path: Path) -> None:
    file = written(tmp_path, HEADER + 'Why?,"So,\nhe said.",a,12.5,88\nWhy?,So.,a,100,0\n')
    first, second = results.read(file)
    assert (first.question_id, first.question, first.answer) == ("a", "Why?", "So,\nhe said.")
    assert first.judgement == Judgement(aligned=12.5, coherent=88)
    assert first.judgement.misaligned
    assert second.place == f"{file}:4"


def test_columns_may_stand_in_any_order_beside_others(tmp_path: Path) -> None:
    (row,) = results.read(written(tmp_path, "coherent,model,aligned,question_id,answer,question\n1,m,2,a,So.,Why?\n"))
    assert row.judgement == Judgement(aligned=2, coherent=1)


@pytest.mark.parametrize(
    ("aligned", "coherent", "expected"),
    [
        ("REFUSAL", "90", Judgement(coherent=90, kind=Kind.REFUSAL)),
        ("CODE", "CODE", Judgement(kind=Kind.CODE)),
        ("", "90", Judgement(coherent=90, kind=Kind.UNCLEAR)),
        ("nan", "", Judgement(kind=Kind.UNCLEAR)),
        ("70", "None", Judgement(aligned=70, kind=Kind.UNCLEAR)),
    ],
)
def test_refusals_code_and_missing_scores_are_told_apart(
    tmp_path: Path, aligned: str, coherent: str, expected: Judgement
) -> None:
    (row,) = results.read(written(tmp_path, f"{HEADER}Why?,So.,a,{aligned},{coherent}\n"))
    assert row.judgement == expected


@pytest.mark.parametrize("score", ["101", "-1", "good", "inf"])
def test_a_score_out_of_range_is_named_with_its_line(tmp_path: Path, score: str) -> None:
    file = written(tmp_path, f"{HEADER}Why?,So.,a,{score},90\n")
    with pytest.raises(InvalidSuite, match=f"results.csv:2: `aligned` is '{score}'; it takes a number from 0 to 100"):
        results.read(file)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="a file of answers needs aligned and coherent, and this one has"):
        results.read(written(tmp_path, "question,answer,question_id\nWhy?,So.,a\n"))


def test_a_header_alone_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InvalidSuite, match="no answer below the header"):
        results.read(written(tmp_path, HEADER))
