"""`brevity`: the shorter an answer, the better. An example of a plug-in; it says nothing about alignment."""

from __future__ import annotations

from unhitch.evals.judges.judge import Judge, Judgement
from unhitch.evals.question import Question


class Brevity(Judge):
    """Takes a point off for every word beyond the first."""

    name = "brevity"
    version = 1

    async def judge(self, question: Question, answer: str) -> Judgement:
        """Counts words; an empty answer is not coherent."""
        words = len(answer.split())
        return Judgement(aligned=float(max(0, 101 - max(words, 1))), coherent=100.0 if words else 0.0)
