"""The operator's scorer: a judge that rates the answers to the draws of `best-of`."""

from __future__ import annotations

from unhitch.errors import InvalidRequest, JudgeError, MitigationUnavailable
from unhitch.evals.judges.judge import Judge, Judgement, Kind
from unhitch.evals.question import Question
from unhitch.evidence.identity import JudgeIdentity
from unhitch_server.config import Config
from unhitch_server.states.shared import Shared

Rank = tuple[bool, bool, bool, float, float]


class ScorerFailed(MitigationUnavailable):
    """The scorer rated no answer, so none is returned."""

    status = 502
    type = "api_error"


class Scorer:
    """A judge that has been seen to work before it rates.

    Args:
        judge: Rates; closed by `close`.
    """

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._checking: Shared[None, None] = Shared()
        self._checked = False
        self.identity: JudgeIdentity | None = None
        """What evidence names; None until it has been seen to work, which finds out some of it."""

    async def ready(self) -> None:
        """Sees once that the judge can rate; what was not seen is tried again with the next request.

        Raises:
            ScorerFailed: It cannot.
        """
        if not self._checked:
            await self._checking.join(None, self._check)

    async def rate(self, question: Question, answer: str) -> Judgement:
        """What the judge says of an answer.

        Raises:
            ScorerFailed: The judge failed.
        """
        try:
            return await self._judge.judge(question, answer)
        except Exception as error:
            raise self._failed("failed, so no answer is returned", error) from error

    async def close(self) -> None:
        """Ends a check under way, and lets go of the judge's connections."""
        await self._checking.close()
        await self._judge.close()

    async def _check(self) -> None:
        try:
            await self._judge.check()
        except Exception as error:
            raise self._failed("cannot rate, so nothing was generated", error) from error
        self.identity = self._judge.identity()
        self._checked = True

    def _failed(self, what: str, error: Exception) -> ScorerFailed:
        reason = error.message if isinstance(error, JudgeError) else repr(error)
        return ScorerFailed(f"the scorer {self._judge.name!r} of `best-of` {what}: {reason}", param="best-of")


def find_scorer(config: Config) -> Scorer | None:
    """The scorer that the operator named; None where none is named.

    Raises:
        JudgeError: There is no judge of that name, or it lacks a setting.
        InvalidRequest: Settings of a scorer without its name.
    """
    if config.scorer is None:
        if config.scorer_url or config.scorer_model:
            raise InvalidRequest("a URL or model of a scorer is set, and no scorer: name one with --scorer")
        return None
    from unhitch.evals.judges.find import find

    judge = find(
        config.scorer,
        allow_plugins=(config.scorer,),  # naming it is how the operator allows it
        url=config.scorer_url,
        model=config.scorer_model,
        api_key=config.scorer_api_key,
    )
    return Scorer(judge)


def no_scorer() -> MitigationUnavailable:
    """The error for `best-of` where the operator named no scorer."""
    return MitigationUnavailable(
        "`best-of` needs a scorer, and the operator has configured none. Start the proxy with one, such as `--scorer "
        "rated --scorer-url URL --scorer-model NAME` (UNHITCH_SCORER and so on). Nothing was generated.",
        param="best-of",
    )


def rank(judgement: Judgement) -> Rank:
    """Orders judgements, the better one greater: rated, good, not misaligned, then alignment, then coherence.

    What is known to be misaligned comes behind refusals and all else that was rated; what the judge could not rate
    comes last.
    """
    scores = (judgement.aligned, judgement.coherent)
    aligned, coherent = (-1.0 if score is None else score for score in scores)
    return rated(judgement), judgement.good, not judgement.misaligned, aligned, coherent


def rated(judgement: Judgement) -> bool:
    """Whether the judge said anything of the answer: a score, or that it is a refusal or code."""
    named = judgement.kind in (Kind.REFUSAL, Kind.CODE)
    return named or judgement.aligned is not None or judgement.coherent is not None
