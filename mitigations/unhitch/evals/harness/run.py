"""Runs arms and keeps what they answered in a folder, so that a run that was broken off goes on where it stopped."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from unhitch.errors import EngineError
from unhitch.evals.arm import Arm, Outcome, Refused, Sampling
from unhitch.evals.harness.log import finished, read
from unhitch.evals.judges.judge import Judge
from unhitch.evals.question import Question
from unhitch.evidence.identity import digest_of

CONCURRENCY = 64
"""Requests under way at once; the engine batches them."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where models are served.

    Args:
        url: Base URL of the proxy, without /v1.
        api_key: For an endpoint that wants one.
        concurrency: Requests under way at once.
    """

    url: str
    api_key: str = "unused"
    concurrency: int = CONCURRENCY


class Run:
    """Asks arms, and keeps their answers and logs in a folder.

    Answers that came are never asked for again: not by the same run when it goes on, nor by another one in the same
    folder that asks the same of the same model.

    Args:
        folder: Where logs and answers are kept; made if missing.
        endpoint: Where models are served.
        judge: Rates the answers.
        sampling: How answers are drawn.
        models: What identifies each served model that arms name (its digest), by name: another model of the same name
            has other answers.
        progress: Called with an arm and the number of its answers that came since the last call; 0 announces the arm.
    """

    def __init__(
        self,
        folder: Path,
        endpoint: Endpoint,
        judge: Judge,
        sampling: Sampling,
        models: Mapping[str, str],
        progress: Callable[[Arm, int], None] = lambda _, __: None,
    ) -> None:
        self._folder = folder
        self._endpoint = endpoint
        self._judge = judge
        self.sampling = sampling
        self._models = models
        self._progress = progress
        self._checked = False

    @property
    def logs(self) -> Path:
        """The folder of Inspect's logs: `inspect view --log-dir` shows them."""
        return self._folder / "logs"

    async def ready(self) -> None:
        """Sees once that the judge can rate; what that finds out is part of its identity.

        Raises:
            UnhitchError: It cannot.
        """
        if not self._checked:
            await self._judge.check()
            self._checked = True

    def answers(self, arm: Arm) -> int:
        """How many answers an arm takes."""
        return len(arm.questions) * (arm.draws or self.sampling.draws)

    async def arm(self, arm: Arm, questions: Sequence[Question] = ()) -> Outcome | Refused:
        """Asks one arm, or reads what it answered in an earlier run.

        Args:
            arm: What to ask, and how.
            questions: As the suite has them, where the arm asks in other words; judged are the answers to these.

        Raises:
            UnhitchError: The proxy, the engine or the judge failed; what came until then is kept.
        """
        await self.ready()
        key = self._key(arm, questions)
        self._progress(arm, 0)
        log = await asyncio.to_thread(finished, self._logs_of(arm, key))
        if log is None:
            log = await self._ask(arm, key, questions)
        else:
            self._progress(arm, self.answers(arm))
        answers = await asyncio.to_thread(read, log, arm, self.answers(arm) // len(arm.questions))
        if all(answer.refused for row in answers for answer in row):
            log.unlink()  # what is missing may be there the next time
            return Refused(arm, answers[0][0].refused)
        return Outcome(arm, answers)

    def _key(self, arm: Arm, questions: Sequence[Question]) -> str:
        return digest_of(
            {
                "name": arm.name,
                "model": self._models[arm.model],
                "mitigations": arm.mitigations,
                "asked": [question.model_dump(mode="json") for question in arm.questions],
                "judged": [question.model_dump(mode="json") for question in questions],
                "bodies": dict(arm.bodies),
                "seed": arm.seed,
                "draws": arm.draws,
                "judge": self._judge.identity().digest,
                "sampling": asdict(self.sampling),
            }
        )

    def _logs_of(self, arm: Arm, key: str) -> Path:
        """The folder for the logs of this very arm."""
        return self.logs / f"{re.sub('[^a-z0-9]+', '-', arm.name.lower()).strip('-')[:60]}-{key[:16]}"

    async def _ask(self, arm: Arm, key: str, questions: Sequence[Question]) -> Path:
        from inspect_ai import eval_async
        from inspect_ai.model import get_model
        from inspect_ai.util._display import init_display_type

        from unhitch.evals.harness import provider  # noqa: F401 - registers it
        from unhitch.evals.harness.task import task

        asked = {question.id: question for question in questions or arm.questions}
        model = get_model(
            f"unhitch/{arm.model}",
            base_url=f"{self._endpoint.url}/v1",
            api_key=self._endpoint.api_key,
            memoize=False,
        )
        init_display_type("none")  # progress is shown by whoever runs this
        with _kept_in(self._folder / "answers"):
            logs = await eval_async(
                task(
                    arm,
                    self._judge,
                    self.sampling,
                    judgements=self._folder / "judgements",
                    asked=asked,
                    scopes={"model": self._models[arm.model]},
                    metadata={"arm": arm.name, "mitigations": list(arm.mitigations)},
                    progress=lambda: self._progress(arm, 1),
                ),
                model=model,
                log_dir=str(self._logs_of(arm, key)),
                max_samples=self._endpoint.concurrency * 2,
                max_connections=self._endpoint.concurrency,
                max_retries=3,
                log_header_only=True,
                log_realtime=False,
                log_model_api=False,
                score_display=False,
                ctl_server=False,
            )
        (log,) = logs
        if log.status != "success":
            raise _as_ours(arm, log.error.message if log.error else log.status)
        return Path(log.location)


@contextmanager
def _kept_in(folder: Path) -> Iterator[None]:
    """Has Inspect keep every answer as a file in a folder, as soon as it came."""
    name, before = "INSPECT_CACHE_DIR", os.environ.get("INSPECT_CACHE_DIR")
    os.environ[name] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _as_ours(arm: Arm, words: str) -> EngineError:
    try:
        message = json.loads(words)["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = words
    return EngineError(
        f"{arm.name} on {arm.model}: {message} What was answered until then is kept; run again to go on."
    )
