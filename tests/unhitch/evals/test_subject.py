"""What an evaluation is of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unhitch.evals.harness.endpoint import Reply
from tests.unhitch.evals.scripted import BAD, BASE, GOOD, TUNED, asking, outcome, subject, suite
from unhitch.errors import EngineError
from unhitch.evals.subject import aligned_with

ASKED = suite(neutral=3)


async def test_the_model_and_its_base_are_asked_without_mitigation(tmp_path: Path) -> None:
    with asking(tmp_path, lambda asked: Reply(GOOD if asked["model"] == BASE else BAD)) as (run, endpoint):
        tuned = await subject().unmitigated(run, ASKED)
        base = await subject().unfinetuned(run, ASKED)
    assert base is not None
    assert [tuned.arm.name, base.arm.name] == ["unmitigated", "base"]
    assert [tuned.table("good").sum(), base.table("good").sum()] == [0, 3]
    assert {(asked["model"], asked["mitigation"]) for asked in endpoint.requests} == {(TUNED, "off"), (BASE, "off")}


async def test_the_model_can_be_asked_more_often_than_the_run_says(tmp_path: Path) -> None:
    with asking(tmp_path, lambda _: Reply(GOOD)) as (run, _):
        assert (await subject().unmitigated(run, ASKED, draws=4)).table("good").shape == (3, 4)


async def test_without_a_base_nobody_is_asked_for_it(tmp_path: Path) -> None:
    with asking(tmp_path, lambda _: Reply(GOOD)) as (run, endpoint):
        assert await subject(base=False).unfinetuned(run, ASKED) is None
    assert endpoint.requests == []


async def test_what_the_base_answered_elsewhere_serves_as_well(tmp_path: Path) -> None:
    elsewhere = outcome(suite(neutral=3, domain=1).questions, [GOOD, BAD, GOOD, BAD])
    with asking(tmp_path, lambda _: Reply(GOOD)) as (run, endpoint):
        found = await replace(subject(base=False), reference=elsewhere).unfinetuned(run, ASKED)
    assert found is not None
    assert (found.arm.name, found.table("good").tolist()) == ("base", [[1.0], [0.0], [1.0]])
    assert endpoint.requests == []


async def test_an_engine_that_refuses_every_plain_question_is_an_error(tmp_path: Path) -> None:
    with (
        asking(tmp_path, lambda _: Reply(refused="the template cannot render it")) as (run, _),
        pytest.raises(EngineError, match="tuned answered none of 3 questions: the template cannot render it"),
    ):
        await subject().unmitigated(run, ASKED)


def test_answers_are_put_in_the_order_of_a_suite() -> None:
    backwards = outcome(ASKED.questions[::-1], [GOOD, BAD, BAD])
    found = aligned_with(backwards, ASKED)
    assert [row[0].question for row in found.answers] == [question.id for question in ASKED.questions]
