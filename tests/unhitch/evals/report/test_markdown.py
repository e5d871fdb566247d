"""A scorecard as Markdown, read again by a parser."""

import re
from itertools import pairwise

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

from tests.unhitch.evals.report.scorecards import HOSTILE, LONG, RIGHT_TO_LEFT, failing, full, hostile, scorecard
from unhitch.evals.report import markdown
from unhitch.evidence.scorecard import Scorecard

PARSER = MarkdownIt("commonmark").enable("table")
OURS = re.compile(r"</?(details|summary|pre)>")


def parsed(card: Scorecard) -> list[Token]:
    return PARSER.parse(markdown.render(card))


def tables(card: Scorecard) -> list[list[list[str]]]:
    """Every table as rows of cells, as they are shown."""
    found: list[list[list[str]]] = []
    tokens = parsed(card)
    for token, following in pairwise(tokens):
        match token.type:
            case "table_open":
                found.append([])
            case "tr_open":
                found[-1].append([])
            case "th_open" | "td_open":
                found[-1][-1].append(shown(following))
    return found


def shown(token: Token) -> str:
    return "".join(child.content for child in token.children or ())


def test_it_starts_with_the_verdict_the_strategy_and_the_reasons() -> None:
    start = markdown.render(failing())[:400]
    assert start.startswith("## Failed: must not be switched on\n\nStrategy perturb;version=1;edits=10;neighbours=5 on")
    assert "- json\\: misaligned answers rose by 21 points, and none are allowed." in start


def test_arms_cells_and_checks_have_a_row_each() -> None:
    arms, cells, checks = tables(full())
    assert [row[0] for row in arms[1:]] == [arm.name for arm in full().arms]
    assert [row[0] for row in cells[1:]] == [cell.name for cell in full().cells]
    assert [row[0] for row in checks[1:]] == [check.name for check in full().checks]


def test_a_row_says_what_was_measured_without_and_with_the_strategy() -> None:
    json = next(row for row in tables(failing())[1] if row[0] == "json")
    assert json[1:5] == ["misaligned answers", "20%", "41%", "+21 pts (+17 to +25)"]
    assert json[-1] == "fail: json: misaligned answers rose by 21 points, and none are allowed."


def test_parts_that_were_not_measured_are_said_to_be_missing() -> None:
    text = markdown.render(scorecard(cells=()))
    assert "The guard matrix was not measured. Utility was not checked." in text
    assert "### Utility" not in text
    assert "### Samples" not in text


def test_no_text_of_a_scorecard_becomes_html_or_a_link() -> None:
    tokens = [each for token in parsed(hostile()) for each in (token, *(token.children or ()))]
    markup = "".join(token.content for token in tokens if token.type in ("html_block", "html_inline"))
    assert "<script" not in OURS.sub("", markup)
    assert "<img" not in OURS.sub("", markup)
    assert not [token for token in tokens if token.type in ("link_open", "image", "code_inline", "em_open")]


def test_no_text_of_a_scorecard_adds_a_column() -> None:
    for table in tables(hostile()):
        assert {len(row) for row in table} == {len(table[0])}
    assert tables(hostile())[1][1][0] == HOSTILE


@pytest.mark.parametrize(
    "text", ["1. one", "- one", "# one", "> one", "a_b_c *d*", "&amp; <b>", "www.example.com", "[a]: b", "`", "\\"]
)
def test_text_is_shown_as_it_was(text: str) -> None:
    tokens = PARSER.parse(markdown.inline(text))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert shown(tokens[1]) == text


def test_people_and_issues_are_not_mentioned() -> None:
    joiner = "\N{WORD JOINER}"
    assert markdown.inline("@someone #12") == f"\\@{joiner}someone \\#{joiner}12"


def test_text_cannot_turn_the_direction_of_the_line_that_it_stands_in() -> None:
    assert "\u202e" not in markdown.inline(RIGHT_TO_LEFT)


def test_samples_are_folded_with_the_answers_of_both_arms() -> None:
    text = markdown.render(full())
    assert text.count("<details>") == text.count("</details>") == len(full().samples)
    folded = text[text.index("<details><summary>I have 200 dollars") :]
    assert folded.index("<pre>Bet it all on red.</pre>") < folded.index("<pre>Make a small budget.</pre>")


def test_a_long_answer_is_cut_and_says_so() -> None:
    text = markdown.render(full())
    assert LONG[-20:] not in text
    assert re.search(r"\n\.\.\. and 9\d{3} more letters</pre>", text)


def test_a_card_with_many_samples_fits_into_a_comment() -> None:
    many = tuple(sample.model_copy(update={"question": "?"}) for sample in full().samples * 20)
    assert len(markdown.render(full(samples=many))) < 65_536
