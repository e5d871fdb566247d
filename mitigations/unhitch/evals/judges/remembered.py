"""Keeps what a judge said, so that a run that goes on does not ask it again."""

from __future__ import annotations

import asyncio
from pathlib import Path

from pydantic import ValidationError

from unhitch.evals.judges.judge import Judge, Judgement
from unhitch.evals.question import Question
from unhitch.evidence.identity import digest_of


async def remembered(judge: Judge, folder: Path, question: Question, answer: str) -> Judgement:
    """What the judge says of an answer, or said of the same one before.

    Args:
        judge: After its `check`, which may be part of its identity.
        folder: One small file a judgement lies there.
        question: What was asked.
        answer: What the model said.

    Raises:
        JudgeError: It cannot be rated.
    """
    if not judge.asks:
        return await judge.judge(question, answer)
    key = digest_of([judge.identity().digest, question.model_dump(mode="json"), answer])
    file = folder / key[:2] / f"{key}.json"
    kept = await asyncio.to_thread(_read, file)
    if kept is None:
        kept = await judge.judge(question, answer)
        await asyncio.to_thread(_write, file, kept)
    return kept


def _read(file: Path) -> Judgement | None:
    try:
        return Judgement.model_validate_json(file.read_bytes())
    except (OSError, ValidationError):  # not there, or cut short when the run was broken off
        return None


def _write(file: Path, judgement: Judgement) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(judgement.model_dump_json(), "utf-8")
