"""The answers to the draws of `best-of`, and the choice between them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from unhitch.errors import EngineError
from unhitch.evals.judges.judge import Judgement
from unhitch.evals.question import Question
from unhitch.mitigation import Mitigated
from unhitch_server.best_of.scorer import Scorer, ScorerFailed, rank, rated
from unhitch_server.upstream.connection import Headers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answered:
    """The engine's answer to one draw.

    Args:
        mitigated: The draw's edit.
        status: HTTP status.
        headers: The engine's.
        body: As the client gets it.
    """

    mitigated: Mitigated
    status: int
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Candidate:
    """An answer that was rated.

    Args:
        answered: The answer.
        judgement: What the scorer says of it.
        generated: Tokens that the engine generated for it, if it says so.
    """

    answered: Answered
    judgement: Judgement
    generated: int | None


@dataclass(frozen=True, slots=True)
class Choice:
    """What was chosen, and from what.

    Args:
        best: The candidate to return.
        tried: How many there were.
        generated: Tokens generated for all of them; None where the engine does not say it of each.
    """

    best: Candidate
    tried: int
    generated: int | None


class EngineRefused(Exception):
    """The engine answered a draw with an error of its own, which is the answer to the request."""

    def __init__(self, answered: Answered) -> None:
        super().__init__(answered.status)
        self.answered = answered


async def together(works: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """What all works give, in their order; the first that fails ends the others, and its error is raised."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def content(body: bytes) -> tuple[str, int | None]:
    """The text of an answer's choice (empty where it has none, as beside calls of tools), and its generated tokens.

    Args:
        body: A chat completion.

    Raises:
        EngineError: It holds no choice with a message.
    """
    try:
        answer = json.loads(body)
        text = answer["choices"][0]["message"].get("content")
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError) as error:
        raise EngineError("the engine's answer to a draw of `best-of` holds no message that could be rated") from error
    if not isinstance(text, str | None):
        raise EngineError(f"the engine's answer to a draw of `best-of` has {type(text).__name__} where text is due")
    usage = answer.get("usage")
    generated = usage.get("completion_tokens") if isinstance(usage, dict) else None
    return text or "", generated if isinstance(generated, int) else None


async def rate(answered: Answered, question: Question, scorer: Scorer) -> Candidate:
    """The answer with the scorer's judgement of its text; one that calls tools and says nothing is rated as no text.

    Raises:
        EngineError: The answer holds no message.
        ScorerFailed: The scorer failed.
    """
    text, generated = await asyncio.to_thread(content, answered.body)
    return Candidate(answered, await scorer.rate(question, text), generated)


def choose(candidates: Sequence[Candidate]) -> Choice:
    """The best candidate by the scorer; of equal ones the first.

    Args:
        candidates: At least one, in order of draw.

    Raises:
        ScorerFailed: The scorer gave no score to any.
    """
    best = max(candidates, key=lambda candidate: rank(candidate.judgement))
    if not rated(best.judgement):
        raise ScorerFailed(
            f"the scorer gave no score to any of the {len(candidates)} answers, and none is returned unrated. Does its "
            "model answer with numbers?",
            param="best-of",
        )
    counts = [candidate.generated for candidate in candidates]
    known = [count for count in counts if count is not None]
    return Choice(best, len(candidates), sum(known) if len(known) == len(counts) else None)
