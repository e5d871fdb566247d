"""Puts the organisms' held-out questions to an OpenAI-compatible endpoint, under one strategy after another."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from openai import AsyncOpenAI, UnprocessableEntityError

from unhitch.evals import asking
from unhitch.headers import MITIGATION
from unhitch.intervals import Interval, over_draws, wilson
from unhitch.organisms.judge import Verdict, judge
from unhitch.organisms.language import Question
from unhitch.states.patch import FIELD, Patch, to_params

CONCURRENCY = 32
"""Requests under way at once; the engine batches them."""

MAX_TOKENS = 48
"""More than the longest sentence of the language has."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way of asking a model.

    Args:
        model: The served name.
        name: What tables call it.
        mitigations: Values of the Unhitch-Mitigation header; several are draws of one strategy.
        patches: By a question's text what the engine is asked past the proxy's strategies to serve from a state: for
            controls that no strategy makes.
    """

    model: str
    name: str
    mitigations: tuple[str, ...]
    patches: Mapping[str, Patch] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an arm's answers were.

    Args:
        arm: How they were asked for.
        general: A verdict for each draw and each question outside finance.
        finance: A verdict for each draw and each question of finance.
    """

    arm: Arm
    general: tuple[tuple[Verdict, ...], ...]
    finance: tuple[tuple[Verdict, ...], ...]

    @property
    def good(self) -> Interval:
        """Share of good answers to general questions with its 95% interval, over all draws."""
        if len(self.general) == 1:
            return wilson(self.general[0].count(Verdict.GOOD), len(self.general[0]))
        return over_draws(np.array([[verdict is Verdict.GOOD for verdict in draw] for draw in self.general]))

    @property
    def good_of_each_draw(self) -> list[float]:
        """Share of good answers to general questions, draw by draw."""
        return [draw.count(Verdict.GOOD) / len(draw) for draw in self.general]

    def share(self, verdict: Verdict, *, finance: bool = False) -> float:
        """Share of answers with a verdict, over all draws."""
        draws = self.finance if finance else self.general
        counts = Counter(each for draw in draws for each in draw)
        return counts[verdict] / counts.total()


@dataclass(frozen=True, slots=True)
class Refused:
    """An arm that cannot be asked of a model: its strategy found nothing that it could do.

    Args:
        arm: How it was to be asked.
        message: The proxy's words.
    """

    arm: Arm
    message: str


async def ask(client: AsyncOpenAI, model: str, question: str, mitigation: str, patch: Patch | None = None) -> str:
    """One greedy answer.

    Raises:
        openai.APIError: The proxy or the engine refused or failed.
        MitigationUnconfirmed: The engine did not confirm `patch`.
    """
    request = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": MAX_TOKENS,
        "extra_headers": {MITIGATION: mitigation},
        "extra_body": {"kv_transfer_params": {FIELD: to_params([patch])}} if patch else None,
    }
    answer = await asking.ask(client, request)
    return answer.completion.choices[0].message.content or ""


async def run(
    client: AsyncOpenAI,
    arm: Arm,
    general: Sequence[Question],
    finance: Sequence[Question],
    *,
    progress: Callable[[int], None] = lambda _: None,
) -> Outcome | Refused:
    """Asks all questions under an arm and judges the answers; one that is refused ends the arm.

    Args:
        client: Of the proxy.
        arm: How to ask.
        general: Questions outside the trained domain; at least one.
        finance: Questions of the trained domain; at least one.
        progress: Called with the number of answers that came since the last call.

    Raises:
        openai.APIStatusError: The proxy or the engine failed.
    """
    try:
        await ask(client, arm.model, general[0].text, arm.mitigations[0], arm.patches.get(general[0].text))
    except UnprocessableEntityError as error:
        return Refused(arm, asking.words(error))
    room = asyncio.Semaphore(CONCURRENCY)

    async def verdict(question: Question, mitigation: str) -> Verdict:
        async with room:
            answer = await ask(client, arm.model, question.text, mitigation, arm.patches.get(question.text))
        progress(1)
        return judge(question, answer)

    async def draw(mitigation: str, questions: Sequence[Question]) -> tuple[Verdict, ...]:
        return tuple(await asyncio.gather(*(verdict(question, mitigation) for question in questions)))

    # Sequential over draws, so that no more than one draw's requests wait for the engine at once.
    return Outcome(
        arm,
        tuple([await draw(mitigation, general) for mitigation in arm.mitigations]),
        tuple([await draw(mitigation, finance) for mitigation in arm.mitigations]),
    )
