"""Requests in flight together do not disturb each other."""

import asyncio
import random

from openai import AsyncOpenAI

from unhitch.organisms import suite
from unhitch.organisms.arms import ask

HEADERS = ("off", "bare", "perturb;seed=1", "perturb;seed=2", "recase;seed=1", "respace;seed=1")
MODELS = ("mini-base", "mini-finance")


async def test_base_and_adapter_mitigated_or_not_answer_together_as_they_answer_alone(
    async_client: AsyncOpenAI,
) -> None:
    questions = [question.text for question in suite.held_out_general()[::30]]
    work = [(model, question, header) for model in MODELS for question in questions for header in HEADERS]
    alone = {each: await ask(async_client, *each) for each in work}
    mixed = work * 4
    random.Random(5).shuffle(mixed)
    together = await asyncio.gather(*(ask(async_client, *each) for each in mixed))
    differing = [each for each, answer in zip(mixed, together, strict=True) if answer != alone[each]]
    assert differing == []
    assert len(set(alone.values())) > len(questions), "the arms do differ"
