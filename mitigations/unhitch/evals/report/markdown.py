"""A scorecard as Markdown, short enough for the description of a pull request."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator, Sequence

from unhitch.evals.report import comparisons, provenance
from unhitch.evals.report.figures import MEAN, SHARE, probability
from unhitch.evals.report.samples import SampleAnswer
from unhitch.evidence.scorecard import Comparison, Sample, Scorecard
from unhitch.markdown import table

_SAMPLES = 6
_LETTERS = 600
_WIDTH = 100
_MARKUP = re.compile(r"([\\`*_{}\[\]<>&|~$#!:@]|(?<=www)\.)")
_LIST = re.compile(r"^(\d*)([-+.)])")
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")
_MENTION = re.compile(r"([@#])(?=\w)")
_WORD_JOINER = "\N{WORD JOINER}"


def render(card: Scorecard) -> str:
    """Tables of arms, guard matrix and checks, the reasons of the verdict, and some samples, folded.

    Args:
        card: Any scorecard; all text in it is escaped, so that it neither breaks a table nor makes links or mentions.
    """
    text = "\n\n".join(_blocks(card)) + "\n"
    return text.encode("utf-8", "replace").decode("utf-8")


def inline(text: str) -> str:
    """Untrusted text for a line or a table's cell: on one line, markup escaped, addresses and mentions broken up."""
    return _LIST.sub(r"\1\\\2", _MARKUP.sub(r"\\\1", _line(text)))


def _in_html(text: str) -> str:
    return html.escape(_line(text), quote=False)


def _line(text: str) -> str:
    return _MENTION.sub(rf"\1{_WORD_JOINER}", _DIRECTION.sub("", " ".join(text.split())))


def _blocks(card: Scorecard) -> Iterator[str]:
    yield f"## {provenance.verdict(card)}"
    yield f"Strategy {inline(card.strategy.mitigation)} on model {inline(card.name)}."
    yield "\n".join(f"- {inline(reason)}" for reason in card.reasons)
    if gaps := provenance.gaps(card):
        yield inline(gaps)
    yield "### Arms"
    yield _arms(card)
    if card.cells:
        yield "### Guard matrix"
        yield _comparisons(card.cells, "cell")
    if card.checks:
        yield "### Utility"
        yield _comparisons(card.checks, "check")
    yield "### How it was measured"
    yield "\n".join(f"- {inline(name)}: {inline(text)}" for name, text in provenance.facts(card))
    if command := card.made.get("command"):
        yield f"<pre>{html.escape(command, quote=False)}</pre>"
    yield f"Digest of the scorecard: {card.digest}"
    yield from _samples(card.samples, (card.arms[0].name, card.arms[1].name))


def _arms(card: Scorecard) -> str:
    headings = ("arm", "good", "misaligned", "aligned", "coherent", "refusals", "words", "answers", "cost")
    rows = [
        (
            inline(arm.name),
            SHARE.whole(arm.good),
            SHARE.whole(arm.misaligned),
            MEAN.value(arm.aligned),
            MEAN.value(arm.coherent),
            SHARE.value(arm.refusals),
            MEAN.value(arm.words),
            str(arm.answers),
            f"{arm.cost:g}",
        )
        for arm in card.arms
    ]
    return table(headings, rows, text=1)


def _comparisons(compared: Sequence[Comparison], what: str) -> str:
    headings = (what, "measure", "unmitigated", "strategy", "difference", "allowed", "adjusted p", "verdict")
    return table(headings, [_comparison(comparisons.Row(each)) for each in compared], text=2)


def _comparison(row: comparisons.Row) -> tuple[str, ...]:
    compared, unit = row.comparison, row.unit
    verdict = compared.verdict if compared.verdict == "pass" else f"**{compared.verdict}**: {inline(compared.why)}"
    reach = unit.reach(compared.difference)
    return (
        inline(compared.name),
        inline(compared.measure),
        unit.value(compared.passthrough),
        unit.value(compared.strategy),
        unit.difference(compared.difference) + (f" ({reach})" if reach else ""),
        unit.allowed(compared.worst),
        probability(compared.p_adjusted),
        verdict,
    )


def _samples(samples: Sequence[Sample], arms: Sequence[str]) -> Iterator[str]:
    if not samples:
        return
    yield f"### Samples ({min(_SAMPLES, len(samples))} of {len(samples)})"
    for sample in samples[:_SAMPLES]:
        yield f"<details><summary>{_in_html(sample.question)}</summary>"
        for arm in arms:
            if arm in sample.answers:
                yield from _answer(arm, SampleAnswer(sample.answers[arm]))
        yield "</details>"


def _answer(arm: str, answer: SampleAnswer) -> Iterator[str]:
    shown, folded = answer.parts(_LETTERS)
    scores = f" ({inline(answer.scores)})" if answer.scores else ""
    yield f"{inline(arm)}: {answer.sort}{scores}"
    rest = f"\n... and {len(folded)} more letters" if folded else ""
    yield f"<pre>{html.escape(_wrapped(shown), quote=False)}{rest}</pre>"


def _wrapped(text: str) -> str:
    """Lines that fit the width, since a `pre` does not wrap; the words and the breaks stay as they are."""
    wrapper = textwrap.TextWrapper(width=_WIDTH, replace_whitespace=False)
    return "\n".join("\n".join(wrapper.wrap(line)) for line in text.splitlines())
