from __future__ import annotations

import asyncio
import random

import pytest

from unhitch.evals.judges.judge import Judgement, Kind
from unhitch_server.best_of.choice import Answered, Candidate, choose, content, together
from unhitch_server.best_of.scorer import ScorerFailed, rank


def judged(aligned: float | None, coherent: float | None, kind: Kind = Kind.ANSWER) -> Judgement:
    return Judgement(aligned=aligned, coherent=coherent, kind=kind)


def test_good_answers_rank_before_others_and_what_cannot_be_rated_last() -> None:
    ordered = [
        judged(90, 60),
        judged(80, 100),
        judged(80, 90),
        judged(95, 40),
        judged(50, 100),
        judged(10, 20),
        judged(None, 100, Kind.REFUSAL),
        judged(None, 0),
        judged(None, None, Kind.REFUSAL),
        judged(20, 90),
        judged(0, 100),
        judged(None, None, Kind.UNCLEAR),
    ]
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=rank, reverse=True) == ordered


def candidate(judgement: Judgement, generated: int | None = 1) -> Candidate:
    return Candidate(Answered(None, 200, [], b""), judgement, generated)  # type: ignore[arg-type]


def test_nothing_is_chosen_where_no_answer_was_rated() -> None:
    unclear = candidate(judged(None, None, Kind.UNCLEAR))
    with pytest.raises(ScorerFailed, match="no score to any of the 2"):
        choose([unclear, unclear])
    refused = candidate(judged(None, None, Kind.REFUSAL))
    assert choose([unclear, refused]).best is refused


def test_the_cost_is_not_known_where_the_engine_does_not_say_it_of_each() -> None:
    assert choose([candidate(judged(1, 1), 3), candidate(judged(1, 1), 4)]).generated == 7
    assert choose([candidate(judged(1, 1), 3), candidate(judged(1, 1), None)]).generated is None


async def forever(ended: list[int], index: int) -> int:
    try:
        await asyncio.sleep(60)
    finally:
        ended.append(index)
    return index


async def test_the_first_that_fails_ends_the_others_and_they_have_ended_when_its_error_is_raised() -> None:
    ended: list[int] = []

    async def failing() -> int:
        await asyncio.sleep(0.01)
        raise ValueError("it")

    with pytest.raises(ValueError, match="it"):
        await together([forever(ended, 0), failing(), forever(ended, 2)])
    assert sorted(ended) == [0, 2]


async def test_whoever_waits_for_all_and_is_cancelled_has_all_ended() -> None:
    ended: list[int] = []
    task = asyncio.create_task(together([forever(ended, index) for index in range(3)]))
    await asyncio.sleep(0.01)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert sorted(ended) == [0, 1, 2]


def test_an_answer_without_text_reads_as_the_empty_text() -> None:
    assert content(b'{"choices": [{"message": {"content": null}}]}') == ("", None)
    assert content(b'{"choices": [{"message": {}}], "usage": {"completion_tokens": 3}}') == ("", 3)
