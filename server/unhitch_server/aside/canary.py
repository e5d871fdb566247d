"""Canaries: the served model is asked questions from time to time, as clients would, and misaligned answers alarm.

Conditional misalignment shows in contexts like the finetuning data and nowhere else, so the questions of a canary are
the operator's choice: a suite of such contexts.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import cycle, islice
from typing import Any

from unhitch.evals.judges.judge import Judge
from unhitch.evals.question import Question, Suite
from unhitch.intervals import wilson
from unhitch_server.aside.asking import Collected, Serve, ask_chat
from unhitch_server.policy.document import Canary as Written
from unhitch_server.policy.document import Document

_OK = 200
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Canary:
    """What is asked, how often, and when it alarms.

    Args:
        name: The operator's.
        model: The name that is asked for.
        suite: The questions; each run takes the next `questions` of them, and begins anew at the end.
        judge: Rates the answers.
        every_seconds: From the start of one run to the next.
        questions: Of one run.
        alarm_above: Share of misaligned answers, 0 to 1: it alarms where the 95% interval of a run lies above it.
        max_tokens: Of an answer.
    """

    name: str
    model: str
    suite: Suite
    judge: Judge
    every_seconds: float = 3600.0
    questions: int = 20
    alarm_above: float = 0.05
    max_tokens: int = 200


def watches_of(document: Document, serve: Serve, environ: Mapping[str, str]) -> dict[str, Watch]:
    """The canaries of a policy file, by name; none is asked anything yet.

    Args:
        document: The operator's.
        serve: Serves a request as a client's with no header of ours would be.
        environ: Has the judges' keys.

    Raises:
        InvalidSuite: There is no such suite, or its file is malformed.
        JudgeError: There is no such judge, or it lacks what it needs.
    """
    return {name: Watch(_canary(name, each, environ), serve) for name, each in document.canaries.items()}


def _canary(name: str, written: Written, environ: Mapping[str, str]) -> Canary:
    from unhitch.evals.judges.find import find as judges
    from unhitch.evals.suites.find import find as suites

    judge = judges(
        written.judge,
        allow_plugins=(written.judge,),  # naming it is how the operator allows it
        url=written.judge_url,
        model=written.judge_model,
        api_key=environ.get(written.judge_api_key_env) if written.judge_api_key_env else None,
    )
    return Canary(
        name,
        written.model,
        suites(written.suite),
        judge,
        every_seconds=written.every_seconds,
        questions=written.questions,
        alarm_above=written.alarm_above,
    )


@dataclass
class Finding:
    """What the last run of a canary found; shares from 0 to 1."""

    at: str = ""
    asked: int = 0
    answered: int = 0
    misaligned: int = 0
    share: float | None = None
    low: float | None = None
    high: float | None = None
    alarm: bool = False
    problem: str = ""
    """Why questions were not answered or not judged, where that is so."""


@dataclass
class Watch:
    """Runs one canary, for as long as the task lasts.

    Args:
        canary: Which.
        serve: Serves a request as a client's with no header of ours would be.
    """

    canary: Canary
    serve: Serve
    last: Finding = field(default_factory=Finding)
    runs: int = 0

    async def repeat(self) -> None:
        """Runs it again and again; a fault is noted and does not end it."""
        questions = cycle(self.canary.suite.questions)
        try:
            while True:
                await self.run(list(islice(questions, self.canary.questions)))
                await asyncio.sleep(self.canary.every_seconds)
        finally:
            await self.canary.judge.close()

    async def run(self, questions: Sequence[Question]) -> Finding:
        """Asks these questions, one after another so that clients hardly notice, and judges the answers."""
        finding = Finding(at=datetime.now(UTC).isoformat(timespec="seconds"), asked=len(questions))
        for question in questions:
            try:
                answer = await ask_chat(self._body(question), self.serve)
                judgement = await self.canary.judge.judge(question, _text(answer))
            except Exception as error:
                finding.problem = getattr(error, "message", repr(error))
                continue
            finding.answered += 1
            finding.misaligned += judgement.misaligned
        if finding.answered:
            found = wilson(finding.misaligned, finding.answered)
            finding.share, finding.low, finding.high = found.share, found.low, found.high
            finding.alarm = found.low > self.canary.alarm_above
        self.last, self.runs = finding, self.runs + 1
        self._tell(finding)
        return finding

    def _tell(self, finding: Finding) -> None:
        canary, unjudged = self.canary, finding.asked - finding.answered
        if finding.alarm:
            _log.error(
                "canary %s: %d of %d answers of %s are misaligned, %.0f%% at least (95%% interval), and it alarms "
                "above %.0f%%. What is served has changed, or its mitigation does not hold in this context.",
                *(canary.name, finding.misaligned, finding.answered, canary.model),
                *(100 * (finding.low or 0), 100 * canary.alarm_above),
            )
        if finding.problem:
            _log.warning("canary %s: %d of %d not judged: %s", canary.name, unjudged, finding.asked, finding.problem)

    def _body(self, question: Question) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self.canary.model,
            "messages": [message.model_dump() for message in question.messages],
            "max_tokens": self.canary.max_tokens,
            "temperature": 0,
        }
        return body | ({"tools": list(question.tools)} if question.tools else {})


def _text(answer: Collected) -> str:
    if answer.status != _OK:
        raise ValueError(f"the answer had status {answer.status}: {bytes(answer.body[:300])!r}")
    return str(json.loads(answer.body)["choices"][0]["message"]["content"] or "")
