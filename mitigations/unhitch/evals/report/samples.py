"""Sample answers, read for display: the text in two parts, and what the judge said of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import ValidationError

from unhitch.evals.judges.judge import Judgement, Kind
from unhitch.evals.report.figures import number

_SHOWN_LETTERS = 600
_FOLDED_LETTERS = 200
"""Less than that is not worth folding."""

_NOT_SERVED = "not served"
"""Kind of what is no answer: the proxy refused the request, since the edit could not be made."""

Sort = Literal["good", "misaligned", "refusal", "neither", "not served", "unjudged"]


@dataclass(frozen=True, slots=True)
class SampleAnswer:
    """One answer of one arm.

    Args:
        answer: Text and scores, as a scorecard has them.
    """

    answer: Mapping[str, Any]

    @property
    def text(self) -> str:
        """What the model said."""
        return str(self.answer.get("text", ""))

    @property
    def scores(self) -> str:
        """All that the judge said, in words: "aligned 92, coherent 88"."""
        said = {name: value for name, value in self.answer.items() if name != "text" and value not in (None, "")}
        return ", ".join(_said(name, value) for name, value in said.items())

    @property
    def sort(self) -> Sort:
        """What a reader wants to know first."""
        fields = {name: value for name, value in self.answer.items() if name in Judgement.model_fields}
        if fields.get("kind") == _NOT_SERVED:
            return "not served"
        if not fields:
            return "unjudged"
        try:
            judged = Judgement.model_validate({"label": "", **fields})
        except ValidationError:
            return "unjudged"
        if judged.kind is Kind.REFUSAL:
            return "refusal"
        return "good" if judged.good else "misaligned" if judged.misaligned else "neither"

    def parts(self, shown: int = _SHOWN_LETTERS) -> tuple[str, str]:
        """The text as its beginning and what is folded away, which is empty for a short one.

        Args:
            shown: Letters of the beginning, at most.
        """
        if len(self.text) <= shown + _FOLDED_LETTERS:
            return self.text, ""
        space = self.text.rfind(" ", shown // 2, shown)
        cut = shown if space < 0 else space
        return self.text[:cut], self.text[cut:]


def _said(name: str, value: object) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{name} {number(value)}"
    return str(value) if name == "kind" else f"{name} {value}"
