from __future__ import annotations

import asyncio

import pytest

from unhitch.errors import InvalidRequest, JudgeError
from unhitch.evals.judges.judge import Judge, Judgement
from unhitch.evals.question import Message, Question
from unhitch_server.app import create_app
from unhitch_server.best_of.scorer import Scorer, ScorerFailed, find_scorer
from unhitch_server.cli.proxy_options import ProxyOptions
from unhitch_server.config import Config


class Fickle(Judge):
    """Cannot rate when it is first asked whether it can."""

    name = "fickle"
    version = 1

    def __init__(self) -> None:
        self.checks = 0
        self.closed = False

    async def check(self) -> None:
        self.checks += 1
        await asyncio.sleep(0.05)
        if self.checks == 1:
            raise JudgeError("not yet")

    async def judge(self, question: Question, answer: str) -> Judgement:
        raise ZeroDivisionError

    async def close(self) -> None:
        self.closed = True


async def test_a_scorer_is_checked_once_for_all_who_wait_and_again_after_a_failure() -> None:
    judge = Fickle()
    scorer = Scorer(judge)
    failures = await asyncio.gather(*(scorer.ready() for _ in range(5)), return_exceptions=True)
    assert [str(failure) for failure in failures] == [str(failures[0])] * 5
    assert "'fickle'" in str(failures[0])
    assert "not yet" in str(failures[0])
    assert scorer.identity is None
    for _ in range(3):
        await scorer.ready()
    assert judge.checks == 2
    assert scorer.identity == judge.identity()
    await scorer.close()
    assert judge.closed


async def test_whatever_a_judge_raises_is_the_scorers_failure() -> None:
    with pytest.raises(ScorerFailed, match="ZeroDivisionError") as caught:
        await Scorer(Fickle()).rate(Question(id="q", messages=(Message(role="user", content="x"),)), "y")
    assert caught.value.status == 502


@pytest.mark.parametrize("settings", [{"scorer_url": "http://127.0.0.1:9/v1"}, {"scorer_model": "m"}])
def test_settings_of_a_scorer_that_is_not_named_are_refused_at_start(settings: dict[str, str]) -> None:
    with pytest.raises(InvalidRequest, match="--scorer"):
        find_scorer(Config.model_validate({"upstream": "http://127.0.0.1:9", **settings}))


@pytest.mark.parametrize(
    "settings", [{"scorer": "nobody"}, {"scorer": "rated"}, {"scorer": "exact", "scorer_model": "m"}]
)
def test_a_scorer_that_cannot_be_had_is_refused_at_start(settings: dict[str, str]) -> None:
    with pytest.raises(JudgeError):
        create_app(Config.model_validate({"upstream": "http://127.0.0.1:9", **settings}))


def test_the_scorers_key_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UNHITCH_SCORER_API_KEY", "sk-1")
    config = ProxyOptions(scorer="exact").config(upstream="http://127.0.0.1:9")
    assert config.scorer_api_key == "sk-1"
    assert "sk-1" not in repr(config)
