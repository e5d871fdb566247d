"""An arm as a task of Inspect AI: its questions, a solver that asks them, and a judge as the scorer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from inspect_ai import Epochs, Task
from inspect_ai.dataset import MemoryDataset
from inspect_ai.dataset import Sample as InspectSample
from inspect_ai.model import (
    CachePolicy,
    ChatMessage,
    ChatMessageAssistant,
    ChatMessageSystem,
    ChatMessageUser,
    GenerateConfig,
)
from inspect_ai.scorer import Score, Scorer, Target, mean, scorer
from inspect_ai.solver import Generate, Solver, TaskState, solver

from unhitch import headers as wire
from unhitch.evals.arm import Arm, Sampling
from unhitch.evals.harness.log import JUDGEMENT, KEPT
from unhitch.evals.judges.judge import Judge, Judgement, Kind
from unhitch.evals.judges.remembered import remembered
from unhitch.evals.question import Message, Question
from unhitch.evidence.identity import digest_of

_MESSAGES = {"system": ChatMessageSystem, "user": ChatMessageUser, "assistant": ChatMessageAssistant}


def task(
    arm: Arm,
    judge: Judge,
    sampling: Sampling,
    *,
    judgements: Path,
    asked: dict[str, Question],
    scopes: dict[str, str],
    metadata: dict[str, Any],
    progress: Callable[[], None],
) -> Task:
    """The task of one arm.

    Args:
        arm: What to ask, and how.
        judge: Rates the answers.
        sampling: How answers are drawn.
        judgements: Where the judge's words are kept.
        asked: The question as the suite has it, by id: what the judge is shown even where the arm changes the words.
        scopes: What else an answer hangs on; part of the key under which it is kept.
        metadata: Kept in the log.
        progress: Called after every answer.
    """
    return Task(
        name=arm.name,
        dataset=MemoryDataset([_sample(question) for question in arm.questions], name=arm.name),
        solver=_solver(arm, sampling, scopes),
        scorer=_scorer(judge, judgements, asked, progress),
        epochs=Epochs(arm.draws or sampling.draws, "mean"),
        config=GenerateConfig(temperature=sampling.temperature, max_tokens=sampling.max_tokens, top_p=sampling.top_p),
        metadata=metadata,
    )


def _solver(arm: Arm, sampling: Sampling, scopes: dict[str, str]) -> Solver:
    questions = {question.id: question for question in arm.questions}

    @solver
    def ask(mitigations: list[str]) -> Solver:  # its arguments go into every sample of the log, so they stay few
        async def solve(state: TaskState, generate: Generate) -> TaskState:
            draw, question = state.epoch - 1, questions[str(state.sample_id)]
            body = dict(arm.bodies.get(question.id, {}))
            if question.tools:
                body["tools"] = list(question.tools)
                # Left to the model only where a call is wanted: engines refuse that unless they were told of a parser.
                body["tool_choice"] = "auto" if question.expects.startswith("tool:") else "none"
            return await generate(
                state,
                tool_calls="none",
                cache=CachePolicy(expiry=None, scopes=scopes),
                seed=_seed(question, sampling.seed + arm.seed + draw),
                extra_headers={
                    wire.MITIGATION: mitigations[draw % len(mitigations)],
                    wire.SESSION: f'"{_session(question, draw)}"',
                },
                extra_body=body or None,
            )

        return solve

    return ask(list(arm.mitigations))


def _scorer(judge: Judge, judgements: Path, asked: dict[str, Question], progress: Callable[[], None]) -> Scorer:
    @scorer(metrics={"*": [mean()]})
    def judged(by: str, version: int) -> Scorer:  # noqa: ARG001 - for the log, as above
        async def score(state: TaskState, target: Target) -> Score:  # noqa: ARG001 - Inspect's own signature
            text = state.output.completion
            judgement = Judgement(kind=Kind.UNCLEAR)
            if not (state.output.metadata or {}).get(KEPT, {}).get("refused"):
                judgement = await remembered(judge, judgements, asked[str(state.sample_id)], text)
            progress()
            return Score(
                value={"good": int(judgement.good), "misaligned": int(judgement.misaligned)},
                answer=text,
                metadata={JUDGEMENT: judgement.model_dump(mode="json")},
            )

        return score

    return judged(judge.name, judge.version)


def _seed(question: Question, draw: int) -> int:
    """The same for a question in every arm, and another for each question.

    With one seed for all, their answers would be drawn with the same luck, and a seed could be chosen for it.
    """
    return int(digest_of([question.id, draw])[:8], 16) % 2**31


def _session(question: Question, draw: int) -> str:
    """Keys the draws of strategies without a seed: every answer has a variant of its own, and always the same."""
    return f"{digest_of(question.id)[:16]}-{draw}"


def _sample(question: Question) -> InspectSample:
    return InspectSample(
        id=question.id,
        input=[_message(message) for message in question.messages],
        metadata={"theme": question.theme, "cell": question.cell, "cluster": question.group},
    )


def _message(message: Message) -> ChatMessage:
    made: ChatMessage = _MESSAGES[message.role](content=message.content)
    return made
