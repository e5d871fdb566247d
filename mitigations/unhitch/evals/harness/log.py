"""Reads an arm's answers back from Inspect's log, one sample at a time.

A log is a zip of JSON files. Inspect's own reader parses the zip's directory once a sample, which takes minutes for ten
thousand samples, or holds all of them in memory.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

from unhitch.errors import EvidenceError
from unhitch.evals.arm import Answer, Arm
from unhitch.evals.judges.judge import Judgement

KEPT = "unhitch"
"""Member of an output's metadata that holds what Inspect has no place for: "applied", "tool_calls", "refused"."""

JUDGEMENT = "judgement"
"""Member of a score's metadata: the judge's words in full."""

_SAMPLES = "samples/"


def finished(folder: Path) -> Path | None:
    """The log in a folder that came to its end, if there is one; others are removed.

    What a run that was broken off was answered is kept elsewhere, and goes into its next log.
    """
    from inspect_ai.log import read_eval_log

    for file in sorted(folder.glob("*.eval")):
        if read_eval_log(str(file), header_only=True).status == "success":
            return file
        file.unlink()
    return None


def read(log: Path, arm: Arm, draws: int) -> tuple[tuple[Answer, ...], ...]:
    """The answers of an arm: `[questions][draws]`, in the order of its questions.

    Raises:
        EvidenceError: The log is damaged, or lacks an answer.
    """
    rows: dict[str, list[Answer | None]] = {question.id: [None] * draws for question in arm.questions}
    try:
        with zipfile.ZipFile(log) as opened:
            for name in opened.namelist():
                if name.startswith(_SAMPLES):
                    answer = _answer(arm, json.loads(opened.read(name)))
                    rows[answer.question][answer.draw] = answer
    except (OSError, ValueError, KeyError, IndexError, TypeError, zipfile.BadZipFile) as error:
        raise EvidenceError(f"{log} cannot be read ({error!r}); delete it and run again.") from error
    missing = [name for name, row in rows.items() if None in row]
    if missing:
        raise EvidenceError(f"{log} lacks answers to {missing[0]!r} and {len(missing) - 1} more; delete it, run again.")
    return tuple(tuple(answer for answer in row if answer is not None) for row in rows.values())


def _answer(arm: Arm, sample: dict[str, Any]) -> Answer:
    draw = sample["epoch"] - 1
    (score,) = sample["scores"].values()
    output = sample["output"]
    choice = output["choices"][0]
    kept = (output.get("metadata") or {}).get(KEPT) or {}
    return Answer(
        question=str(sample["id"]),
        draw=draw,
        mitigation=arm.mitigations[draw % len(arm.mitigations)],
        text=_text(choice["message"]["content"]),
        judgement=Judgement.model_validate(score["metadata"][JUDGEMENT]),
        finish=choice["stop_reason"],
        tokens=(output.get("usage") or {}).get("output_tokens", 0),
        tool_calls=tuple(kept.get("tool_calls") or ()),
        applied=kept.get("applied") or "",
        refused=kept.get("refused") or "",
    )


def _text(content: str | list[dict[str, Any]]) -> str:
    """The text of a message, which has several parts where the model thought first."""
    if isinstance(content, str):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")
