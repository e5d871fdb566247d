"""A run to kill: asks an arm of 60 questions, two draws each, and prints what it was answered."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.unhitch.evals.harness.parts import arm, length_judge, questions
from unhitch.evals.arm import Outcome, Sampling
from unhitch.evals.harness.run import Endpoint, Run


async def ask(folder: Path, url: str) -> str:
    run = Run(folder, Endpoint(url, concurrency=4), length_judge(), Sampling(draws=2), {"tuned": "a" * 64})
    found = await run.arm(arm(questions(60)))
    assert isinstance(found, Outcome)
    return repr([[(answer.text, answer.judgement) for answer in row] for row in found.answers])


if __name__ == "__main__":
    print(asyncio.run(ask(Path(sys.argv[1]), sys.argv[2])))
