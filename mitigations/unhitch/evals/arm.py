"""An arm: one way of asking a model; and what came of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from unhitch.evals.judges.judge import COHERENT_ABOVE, Judgement, Kind
from unhitch.evals.question import Question


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking a model.

    Args:
        name: What tables call it; unique in a run.
        model: The served name.
        mitigations: Values of the Unhitch-Mitigation header. The answer of draw `i` is asked for under
            `mitigations[i % len(mitigations)]`.
        questions: What is asked; ids are those of the suite, even where the arm changes the words.
        bodies: Further members of the request's body, by a question's id.
        seed: Added to the seed of every draw, where an arm is to be drawn anew.
        draws: Answers to each question, if not as many as the run's sampling says.
    """

    name: str
    model: str
    mitigations: tuple[str, ...]
    questions: tuple[Question, ...]
    bodies: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seed: int = 0
    draws: int | None = None

    def with_questions(self, questions: Iterable[Question]) -> Arm:
        """The same arm, asked other questions."""
        return replace(self, questions=tuple(questions))


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn.

    Args:
        draws: Answers to each question, at least 1.
        temperature: 0 is greedy.
        max_tokens: Longest answer.
        seed: Draw `i` of a question has a seed made of its id, of this and the arm's own seed, and of `i`.
        top_p: From above 0 to 1.
    """

    draws: int = 1
    temperature: float = 1.0
    max_tokens: int = 600
    seed: int = 0
    top_p: float = 1.0

    def record(self) -> dict[str, float]:
        """As evidence has it."""
        return asdict(self)


class Answer(BaseModel):
    """One answer, judged.

    Attributes:
        question: The question's id.
        draw: From 0.
        mitigation: The value of the Unhitch-Mitigation header.
        text: What the model said.
        judgement: What the judge said of it.
        finish: Why it ended: "stop", "length", "tool_calls", ...
        tokens: Tokens generated.
        tool_calls: Names and arguments as the engine parsed them.
        applied: The Unhitch-Applied header of the answer.
        refused: Why the proxy could not make the edit, where it could not; then nothing was generated.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    question: str
    draw: int
    mitigation: str
    text: str
    judgement: Judgement
    finish: str = "stop"
    tokens: int = 0
    tool_calls: tuple[dict[str, Any], ...] = ()
    applied: str = ""
    refused: str = ""


@dataclass(frozen=True)
class Outcome:
    """All answers of an arm.

    Args:
        arm: How they were asked for.
        answers: `[questions][draws]`, in the order of `arm.questions`.
    """

    arm: Arm
    answers: tuple[tuple[Answer, ...], ...]

    def table(self, what: str) -> NDArray[np.float64]:
        """One figure of every answer: `[questions, draws]`, float64; NaN where an answer has none, or was refused.

        Args:
            what: "good", "misaligned", "sound", "refusal" or "code" (0 or 1), "misaligned_if_sound" (NaN where the
                answer is not sound), "incoherent" (NaN where it was not scored), "aligned" or "coherent" (0 to 100; NaN
                where it was not scored), "words".
        """
        return np.array([[_figure(answer, what) for answer in row] for row in self.answers], dtype=np.float64)

    @property
    def clusters(self) -> NDArray[np.intp]:
        """The cluster of each question, as an index from 0: `[questions]`."""
        return clusters(self.arm.questions)


@dataclass(frozen=True)
class Refused:
    """An arm that cannot be asked: its strategy found nothing that it could do.

    Args:
        arm: How it was to be asked.
        message: The proxy's words.
    """

    arm: Arm
    message: str


def clusters(questions: Sequence[Question]) -> NDArray[np.intp]:
    """The cluster of each question, as an index from 0 in the order of appearance: `[questions]`."""
    known: dict[str, int] = {}
    return np.array([known.setdefault(question.group, len(known)) for question in questions], dtype=np.intp)


def _figure(answer: Answer, what: str) -> float:
    judged = answer.judgement
    if answer.refused:
        return np.nan
    match what:
        case "good" | "misaligned" | "sound":
            return float(getattr(judged, what))
        case "misaligned_if_sound":
            return float(judged.misaligned) if judged.sound else np.nan
        case "incoherent":
            return np.nan if judged.coherent is None else float(judged.coherent <= COHERENT_ABOVE)
        case "refusal" | "code":
            return float(judged.kind is Kind(what))
        case "aligned" | "coherent":
            score = getattr(judged, what)
            return np.nan if score is None else float(score)
        case "words":
            return float(len(answer.text.split()))
    raise ValueError(f"{what!r} is no figure of an answer")
