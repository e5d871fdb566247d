"""A scorecard as one HTML page that asks for nothing else: no scripts, no fonts, no pictures from anywhere."""

from __future__ import annotations

import jinja2

from unhitch.evals.report import comparisons, curve, figures, provenance
from unhitch.evals.report.samples import SampleAnswer
from unhitch.evidence.scorecard import Scorecard

_OPEN_SAMPLES = 3
"""How many samples are unfolded from the start."""


def render(card: Scorecard) -> str:
    """The page, in UTF-8. All that stands in the scorecard is taken for untrusted text, and escaped.

    Args:
        card: Any scorecard; what was not measured is left out, or said to be missing.
    """
    template = _environment().get_template("page.html.jinja")
    text = template.render(
        card=card,
        unmitigated=card.arms[0],
        strategy=card.arms[1],
        curve=curve.Curve.of(card.layers, card.arms),
        open_samples=_OPEN_SAMPLES,
    )
    return text.encode("utf-8", "replace").decode("utf-8")  # a model can say halves of surrogate pairs


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("unhitch.evals.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        facts=provenance.facts,
        digests=provenance.digests,
        gaps=provenance.gaps,
        verdict=provenance.verdict,
        row=comparisons.Row,
        common_measure=comparisons.common_measure,
        answer=SampleAnswer,
        share=figures.SHARE,
        mean=figures.MEAN,
        height=curve.HEIGHT,
    )
    environment.filters.update(
        position=figures.position,
        down=curve.down,
        figure=figures.figure,
        plain=figures.plain,
        probability=figures.probability,
        known=figures.known,
    )
    return environment
