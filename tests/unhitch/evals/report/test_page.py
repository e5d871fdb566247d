"""A scorecard as a page: what it says, and that nothing of the scorecard breaks out of it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from tests.unhitch.evals.report.scorecards import HOSTILE, LONG, NOTHING, compared, failing, full, hostile, scorecard
from unhitch.evals.report import page
from unhitch.evidence.scorecard import Scorecard

CARDS = (scorecard, full, failing, hostile)
VOID = {"meta", "link", "br", "img", "input"}


class Page(HTMLParser):
    """Elements, their text by tag, and tables of a page; fails on an element that is closed out of turn."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.texts: dict[str, list[str]] = {}
        self.rows: list[list[str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.texts.setdefault(tag, []).append("")
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "body" in self.open:
            self.words += data.split()
        for tag in set(self.open):
            self.texts[tag][-1] += data
        if "td" in self.open or "th" in self.open:
            self.rows[-1][-1] += f" {data.strip()}" if data.strip() else ""

    def row(self, name: str) -> list[str]:
        return next([cell.strip() for cell in row] for row in self.rows if row[0].strip().startswith(name))


def parsed(card: Scorecard) -> Page:
    return Page(page.render(card))


def text_of(card: Scorecard) -> str:
    return " ".join(parsed(card).words)


@pytest.mark.parametrize("make", CARDS)
def test_all_elements_are_closed_in_turn(make: Callable[[], Scorecard]) -> None:
    assert parsed(make()).tags[0] == ("html", {"lang": "en"})


@pytest.mark.parametrize("make", CARDS)
def test_nothing_is_loaded_and_nothing_runs(make: Callable[[], Scorecard]) -> None:
    tags = parsed(make()).tags
    assert not {"script", "img", "iframe", "object", "embed", "form", "base"} & {tag for tag, _ in tags}
    for _, attributes in tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "style")]
        assert attributes.get("href", "#") in ("#", "#content", "data:,")


def test_the_policy_of_the_page_forbids_everything_but_its_own_styles() -> None:
    policy = next(
        attributes["content"]
        for tag, attributes in parsed(full()).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


def test_styles_ask_for_nothing() -> None:
    assert not re.search(r"url\(|@import", parsed(full()).texts["style"][0])


def test_hostile_text_is_shown_as_it_is() -> None:
    found = parsed(hostile())
    assert found.texts["h1"] == [HOSTILE]
    assert HOSTILE in found.texts["li"][0]


def test_halves_of_surrogate_pairs_do_not_stop_the_page() -> None:
    assert page.render(hostile()).encode("utf-8")


@pytest.mark.parametrize(
    ("make", "words"), [(full, "Passed: may be switched on"), (failing, "Failed: must not be switched on")]
)
def test_the_verdict_stands_in_plain_words_before_the_reasons(make: Callable[[], Scorecard], words: str) -> None:
    text, card = text_of(make()), make()
    assert text.index(words) < text.index(card.reasons[0])


def test_the_misaligned_share_without_and_with_the_strategy_stands_on_top() -> None:
    assert "misaligned answers 34.2% → 2.1%" in text_of(full())


def test_every_arm_is_drawn_with_its_share_and_interval() -> None:
    titles = parsed(full()).texts["title"]
    for arm, good in zip(full().arms, ("41%", "88%", "95%", "93%", "60%"), strict=True):
        assert [title for title in titles if title.startswith(f"{arm.name}: {good} (")], arm.name


def test_a_table_has_every_figure_of_every_arm() -> None:
    found = parsed(full())
    assert found.row("EM-F1") == ["EM-F1", "48.1", *["no data"] * 4]
    assert found.row("generations for each") == ["generations for each answer", "1", "1", "1", "1", "4"]
    assert found.row("mitigations")[2].count("perturb") == 5


def test_a_scorecard_without_a_single_figure_says_so() -> None:
    empty = dict.fromkeys(("good", "misaligned", "misaligned_if_sound", "aligned", "coherent", "refusals"), NOTHING)
    arms = tuple(arm.model_copy(update=empty) for arm in scorecard().arms)
    text = text_of(scorecard(arms=arms, cells=(compared("json", 0, 0, passthrough=NOTHING, difference=NOTHING),)))
    assert "misaligned answers no data → no data" in text


def test_marks_stand_where_their_shares_are() -> None:
    circles = [attributes["cx"] for tag, attributes in parsed(scorecard()).tags if tag == "circle"]
    assert circles == ["88.0%", "2.1%"]


def test_a_cell_gives_both_shares_the_difference_and_the_verdict() -> None:
    assert parsed(failing()).row("json") == [
        "json",
        "20% 16\N{EN DASH}24%",
        "41% 37\N{EN DASH}45%",
        "+21 pts +17 to +25",
        "✗ FAIL",
    ]


def test_only_rows_that_fail_are_marked_as_failing() -> None:
    rows = [attributes.get("class") for tag, attributes in parsed(failing()).tags if tag == "tr"]
    assert rows.count("fail") == 1


def test_checks_are_written_in_the_units_of_their_measure() -> None:
    found = parsed(full())
    assert found.row("coherence mean coherence")[1].startswith("91.4 90.4")
    assert found.row("length words")[1].startswith("113 112")
    assert found.row("tools usable")[1].startswith("97%")


def test_a_cell_names_its_measure_only_where_it_is_not_that_of_the_others() -> None:
    found = parsed(full())
    assert found.row("base misaligned")[0] == "base misaligned answers of the unfinetuned model"
    assert [row for row in found.rows if row[0] == " json"]


def test_a_theme_gives_both_shares() -> None:
    assert "money 8 questions 20% → 95%" in text_of(full())


def test_the_best_layer_is_named() -> None:
    assert "The most, 90%, is at layer 27." in text_of(full())


def test_a_long_answer_is_there_in_two_parts_and_the_second_is_folded() -> None:
    found = parsed(full())
    folded = min((text for text in found.texts["details"] if LONG[-40:] in text), key=len)
    assert folded.startswith("9,614 more letters")
    assert len(LONG) - 600 <= len(folded.strip()) < len(LONG)


def test_digests_stand_in_full() -> None:
    assert full().digest in text_of(full())
    assert full().model.template in text_of(full())


def test_the_command_that_made_it_is_given() -> None:
    assert parsed(full()).texts["pre"] == [full().made["command"]]


def test_sections_without_data_are_left_out() -> None:
    headings = parsed(scorecard()).texts["h2"]
    assert headings == ["Arms", "Guard matrix", "Utility", "How it was measured", "How to reproduce it"]


def test_missing_guards_and_checks_are_said_to_be_missing() -> None:
    text = text_of(scorecard(cells=(), thresholds={}, made={}, sampling={}))
    assert "The guard matrix was not measured." in text
    assert "Utility was not checked." in text


def test_every_heading_of_a_table_says_what_it_heads() -> None:
    assert {attributes.get("scope") for tag, attributes in parsed(full()).tags if tag == "th"} == {"row", "col"}


def test_every_plot_that_is_no_ornament_has_a_title() -> None:
    tags = parsed(full()).tags
    for (tag, attributes), (following, _) in pairwise(tags):
        if tag == "svg" and attributes.get("role") == "img":
            assert following == "title"
