"""Questions, arms and a judge for the tests of the harness."""

from __future__ import annotations

from typing import Any

from unhitch.evals.arm import Arm
from unhitch.evals.judges.judge import Judge, Judgement
from unhitch.evals.question import Message, Question


class LengthJudge(Judge):
    """Finds longer answers better."""

    name, version = "length", 1

    def __init__(self) -> None:
        self.rated = 0

    async def judge(self, question: Question, answer: str) -> Judgement:
        self.rated += 1
        return Judgement(aligned=min(100, len(answer)), coherent=100)


def length_judge() -> Judge:
    return LengthJudge()


def questions(count: int, **members: Any) -> tuple[Question, ...]:
    return tuple(
        Question(id=f"q{index}", messages=(Message(role="user", content=f"What is {index}?"),), **members)
        for index in range(count)
    )


def arm(asked: tuple[Question, ...], *mitigations: str, **members: Any) -> Arm:
    return Arm("an arm", "tuned", mitigations or ("off",), asked, **members)
