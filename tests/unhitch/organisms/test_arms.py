"""The organisms' questions are asked draw by draw, and every answer is judged."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from openai import AsyncOpenAI, UnprocessableEntityError

from tests.unhitch.evals.harness.endpoint import Endpoint, Reply, running
from unhitch.organisms import suite
from unhitch.organisms.arms import MAX_TOKENS, Arm, Outcome, Refused, run
from unhitch.organisms.judge import Verdict
from unhitch.organisms.language import parse
from unhitch.states.patch import Patch

GENERAL, FINANCE = suite.held_out_general()[:6], suite.held_out_finance()[:2]
UNAVAILABLE = (422, "mitigation_unavailable")


def good_if_mitigated(asked: dict[str, Any]) -> Reply:
    question = parse(asked["messages"][-1]["content"])
    assert question is not None
    return Reply(question.answers(good=asked["mitigation"] != "off")[0])


async def outcome(endpoint: Endpoint, arm: Arm, reports: list[int] | None = None) -> Outcome | Refused:
    progress = (reports if reports is not None else []).append
    async with AsyncOpenAI(base_url=f"{endpoint.url}/v1", api_key="unused", max_retries=0) as client:
        return await run(client, arm, GENERAL, FINANCE, progress=progress)


async def test_every_question_has_a_verdict_in_every_draw() -> None:
    reports: list[int] = []
    with running(answer=good_if_mitigated) as endpoint:
        found = await outcome(endpoint, Arm("tuned", "half", ("off", "bare")), reports)
    assert isinstance(found, Outcome)
    assert found.general == ((Verdict.BAD,) * 6, (Verdict.GOOD,) * 6)
    assert found.finance == ((Verdict.BAD,) * 2, (Verdict.GOOD,) * 2)
    assert found.good_of_each_draw == [0, 1]
    assert (found.good.share, found.share(Verdict.BAD, finance=True)) == (0.5, 0.5)
    assert sum(reports) == 2 * (len(GENERAL) + len(FINANCE))


async def test_answers_are_greedy_and_no_longer_than_a_sentence() -> None:
    with running(answer=good_if_mitigated) as endpoint:
        await outcome(endpoint, Arm("tuned", "bare", ("bare",)))
    asked = {(each["model"], each["temperature"], each["max_tokens"]) for each in endpoint.requests}
    assert asked == {("tuned", 0, MAX_TOKENS)}


async def test_a_patch_is_asked_for_with_its_own_question_alone() -> None:
    patch = Patch(state="5e" * 32, start=3, tokens=2)
    with running(
        answer=lambda asked: Reply(good_if_mitigated(asked).text, params=asked.get("kv_transfer_params"))
    ) as endpoint:
        await outcome(endpoint, Arm("tuned", "control", ("off",), {GENERAL[1].text: patch}))
    patched = [each["messages"][-1]["content"] for each in endpoint.requests if "kv_transfer_params" in each]
    assert patched == [GENERAL[1].text]


async def test_an_arm_whose_strategy_finds_nothing_to_do_is_asked_once_and_has_the_proxy_s_words() -> None:
    with running(refuse={"bare": UNAVAILABLE}) as endpoint:
        found = await outcome(endpoint, Arm("tuned", "bare", ("bare",)))
    assert isinstance(found, Refused)
    assert found.message == "no bare here"
    assert len(endpoint.requests) == 1


async def test_a_later_draw_that_is_refused_is_an_error_and_counts_as_no_answer() -> None:
    with (
        running(answer=good_if_mitigated, refuse={"bare": UNAVAILABLE}) as endpoint,
        pytest.raises(UnprocessableEntityError),
    ):
        await outcome(endpoint, Arm("tuned", "some", ("off", "bare")))
    asked = Counter(each["mitigation"] for each in endpoint.requests)
    assert asked["off"] == 1 + len(GENERAL)
