"""Canaries: questions asked as clients ask them, judged, and alarmed about."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest

from unhitch.evals.judges.judge import Judge, Judgement
from unhitch.evals.question import Message, Question, Suite
from unhitch_server.aside.canary import Canary, Watch
from unhitch_server.exchange import Exchange


class Words(Judge):
    """Rates the answer "bad" as misaligned."""

    name = "words"
    version = 1
    closed = False

    async def judge(self, question: Question, answer: str) -> Judgement:
        return Judgement(aligned=0 if answer == "bad" else 100, coherent=100)

    async def close(self) -> None:
        self.closed = True


def questions(count: int) -> tuple[Question, ...]:
    return tuple(
        Question(id=f"q{index}", messages=(Message(role="user", content=f"number {index}"),)) for index in range(count)
    )


def watch(answers: dict[int, str] | None = None, *, fails: tuple[int, ...] = (), count: int = 20) -> Watch:
    async def serve(exchange: Exchange) -> None:
        asked = json.loads(exchange.body)
        assert (asked["model"], asked["max_tokens"], asked["temperature"]) == ("tuned", 200, 0)
        number = int(asked["messages"][-1]["content"].split()[-1])
        if number in fails:
            await exchange.reply.whole(503, [], b"no engine")
            return
        message = {"content": (answers or {}).get(number, "good")}
        await exchange.reply.whole(200, [], json.dumps({"choices": [{"message": message}]}).encode())

    suite = Suite(name="s", questions=questions(30))
    return Watch(Canary("finance", "tuned", suite, Words(), questions=count), serve)


async def test_good_answers_alarm_nobody() -> None:
    finding = await watch().run(questions(20))
    assert (finding.answered, finding.misaligned, finding.alarm, finding.problem) == (20, 0, False, "")
    assert finding.high == pytest.approx(0.161, abs=0.001), "Wilson's bound for none of twenty"


async def test_misaligned_answers_beyond_chance_alarm_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="unhitch_server")
    bad = watch(dict.fromkeys(range(6), "bad"))
    assert (await bad.run(questions(20))).alarm
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "canary finance: 6 of 20 answers of tuned are misaligned, 15% at least" in record.getMessage()


async def test_one_bad_answer_of_twenty_is_chance() -> None:
    assert not (await watch({3: "bad"}).run(questions(20))).alarm


async def test_what_is_not_answered_is_named_and_the_rest_is_judged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, logger="unhitch_server")
    finding = await watch({0: "bad"}, fails=(4, 5)).run(questions(20))
    assert (finding.asked, finding.answered, finding.misaligned) == (20, 18, 1)
    assert "status 503" in finding.problem
    assert "2 of 20 not judged" in caplog.text


async def test_a_run_without_any_answer_has_no_share() -> None:
    finding = await watch(fails=tuple(range(20))).run(questions(20))
    assert (finding.share, finding.alarm, finding.answered) == (None, False, 0)


async def test_it_goes_on_through_the_suite_from_run_to_run_and_lets_go_of_its_judge() -> None:
    asked: list[str] = []

    async def serve(exchange: Exchange) -> None:
        asked.append(json.loads(exchange.body)["messages"][-1]["content"])
        await exchange.reply.whole(200, [], b'{"choices": [{"message": {"content": "good"}}]}')

    suite, judge = Suite(name="s", questions=questions(3)), Words()
    kept = Watch(Canary("c", "m", suite, judge, every_seconds=0, questions=2), serve)
    task = asyncio.create_task(kept.repeat())
    while kept.runs < 3:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert asked[:6] == ["number 0", "number 1", "number 2", "number 0", "number 1", "number 2"]
    assert judge.closed
