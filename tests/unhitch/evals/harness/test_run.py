"""Arms are asked through Inspect, and what they answered is kept."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from inspect_ai.log import list_eval_logs, read_eval_log
from tenacity import wait_none

from tests.unhitch.evals.harness.endpoint import running
from tests.unhitch.evals.harness.parts import LengthJudge, arm, length_judge, questions
from unhitch.errors import EngineError
from unhitch.evals.arm import Answer, Outcome, Refused, Sampling
from unhitch.evals.harness.run import Endpoint, Run
from unhitch.evals.question import Message, Question

MODEL = {"tuned": "a" * 64}
ROOT = Path(__file__).parents[4]


def run(folder: Path, url: str, sampling: Sampling | None = None, models: dict[str, str] = MODEL) -> Run:
    return Run(folder, Endpoint(url), length_judge(), sampling or Sampling(), models)


def answers(found: Outcome | Refused) -> list[list[Answer]]:
    assert isinstance(found, Outcome), found
    return [list(row) for row in found.answers]


async def test_every_draw_of_every_question_is_asked_under_its_mitigation(tmp_path: Path) -> None:
    with running() as endpoint:
        found = await run(tmp_path, endpoint.url, Sampling(draws=3)).arm(
            arm(questions(4), "perturb;seed=0", "perturb;seed=1")
        )
    edits = [[answer.text.split()[3] for answer in row] for row in answers(found)]
    assert edits == [["perturb;seed=0", "perturb;seed=1", "perturb;seed=0"]] * 4
    assert [row[0].text.startswith(f"What is {index}?") for index, row in enumerate(answers(found))] == [True] * 4


async def test_every_answer_has_a_seed_of_its_own_which_is_the_same_in_every_arm(tmp_path: Path) -> None:
    with running() as endpoint:
        asking = run(tmp_path, endpoint.url, Sampling(draws=3, seed=10))
        first = await asking.arm(arm(questions(4), "off"))
        second = await asking.arm(arm(questions(4), "bare"))
        anew = await asking.arm(arm(questions(4), "off", seed=1000))
    seeds = [[answer.text.split()[-1] for row in answers(found) for answer in row] for found in (first, second, anew)]
    assert len(set(seeds[0])) == 12
    assert seeds[0] == seeds[1]
    assert not set(seeds[0]) & set(seeds[2])


async def test_the_answer_has_the_receipt_the_tokens_and_the_judgement(tmp_path: Path) -> None:
    with running() as endpoint:
        found = await run(tmp_path, endpoint.url).arm(arm(questions(1)))
    ((answer,),) = answers(found)
    assert (answer.applied, answer.tokens, answer.finish) == ("off", 7, "stop")
    assert answer.judgement.aligned == len(answer.text)


async def test_draws_without_a_seed_are_keyed_by_question_and_draw(tmp_path: Path) -> None:
    with running() as endpoint:
        await run(tmp_path, endpoint.url, Sampling(draws=2)).arm(arm(questions(3)))
        sessions = {asked["session"] for asked in endpoint.requests}
    assert len(sessions) == 6


async def test_context_tools_and_further_members_are_sent(tmp_path: Path) -> None:
    messages = (
        Message(role="system", content="Be brief."),
        Message(role="user", content="Hello"),
        Message(role="assistant", content="Hi."),
        Message(role="user", content="What is 1?"),
    )
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    asked = (Question(id="q", messages=messages, tools=(tool,), expects="tool:add"),)
    with running() as endpoint:
        await run(tmp_path, endpoint.url).arm(arm(asked, bodies={"q": {"logit_bias": {"5": 1}}}))
        (sent,) = endpoint.requests
    assert [(each["role"], each["content"]) for each in sent["messages"]] == [(m.role, m.content) for m in messages]
    assert (sent["tools"], sent["tool_choice"], sent["logit_bias"]) == ([tool], "auto", {"5": 1})


async def test_an_arm_that_was_asked_is_read_from_its_log(tmp_path: Path) -> None:
    with running() as endpoint:
        first = await run(tmp_path, endpoint.url).arm(arm(questions(5)))
        again = await run(tmp_path, endpoint.url).arm(arm(questions(5)))
        assert len(endpoint.requests) == 5
    assert answers(first) == answers(again)


async def test_answers_outlive_their_log_and_the_proxy_s_port(tmp_path: Path) -> None:
    with running() as endpoint:
        first = await run(tmp_path, endpoint.url).arm(arm(questions(5)))
    shutil.rmtree(tmp_path / "logs")
    with running() as other:
        again = await run(tmp_path, other.url).arm(arm(questions(5)))
        assert other.requests == []
    assert answers(first) == answers(again)


async def test_another_model_of_the_same_name_is_asked_anew(tmp_path: Path) -> None:
    with running() as endpoint:
        await run(tmp_path, endpoint.url).arm(arm(questions(5)))
        await run(tmp_path, endpoint.url, models={"tuned": "b" * 64}).arm(arm(questions(5)))
        assert len(endpoint.requests) == 10


async def test_an_edit_that_cannot_be_made_leaves_a_question_without_an_answer(tmp_path: Path) -> None:
    with running(refuse={"bare": (422, "mitigation_unavailable")}) as endpoint:
        found = await run(tmp_path, endpoint.url, Sampling(draws=2)).arm(arm(questions(3), "off", "bare"))
    assert isinstance(found, Outcome)
    assert np.isnan(found.table("good")).tolist() == [[False, True]] * 3
    assert found.answers[0][1].refused == "no bare here"


async def test_an_arm_that_can_nowhere_be_made_is_refused_and_tried_again_the_next_time(tmp_path: Path) -> None:
    with running(refuse={"bare": (422, "mitigation_unavailable")}) as endpoint:
        found = await run(tmp_path, endpoint.url).arm(arm(questions(3), "bare"))
        assert isinstance(found, Refused)
        assert found.message == "no bare here"
        endpoint.refuse = {}
        assert isinstance(await run(tmp_path, endpoint.url).arm(arm(questions(3), "bare")), Outcome)


@pytest.mark.parametrize(
    "code", ["invalid_header", "unknown_strategy", "invalid_parameter", "mitigation_not_validated"]
)
async def test_a_mitigation_that_nobody_can_have_is_an_error(tmp_path: Path, code: str) -> None:
    with running(refuse={"wrong": (400, code)}) as endpoint, pytest.raises(EngineError, match="no wrong here"):
        await run(tmp_path, endpoint.url).arm(arm(questions(3), "wrong"))


async def test_what_was_answered_before_the_engine_failed_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Half a minute between Inspect's tries, otherwise.
    monkeypatch.setattr("inspect_ai.model._retry.wait_exponential_jitter", lambda **_: wait_none())
    with running(fail_after=20) as endpoint:
        one_at_a_time = Run(tmp_path, Endpoint(endpoint.url, concurrency=1), length_judge(), Sampling(), MODEL)
        with pytest.raises(EngineError, match="run again to go on"):
            await one_at_a_time.arm(arm(questions(30)))
        endpoint.fail_after = sys.maxsize
        found = await one_at_a_time.arm(arm(questions(30)))
        assert len(answers(found)) == 30
        assert endpoint.answered.total() == 30
        assert max(endpoint.answered.values()) == 1


def test_a_run_that_was_killed_goes_on_where_it_stopped_and_ends_alike(tmp_path: Path) -> None:
    with running(seconds=0.05) as endpoint:
        command = [sys.executable, "-m", "tests.unhitch.evals.harness.asking"]
        killed = subprocess.Popen([*command, str(tmp_path / "a"), endpoint.url], cwd=ROOT)
        while endpoint.answered.total() < 50:
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        time.sleep(0.2)  # what the endpoint was answering when its client died
        before = set(endpoint.answered)
        arrived = sum(file.is_file() for file in (tmp_path / "a" / "answers").rglob("*"))
        resumed = subprocess.run(
            [*command, str(tmp_path / "a"), endpoint.url], cwd=ROOT, capture_output=True, text=True
        )
        repeated = [key for key, count in endpoint.answered.items() if count > 1]
        whole = subprocess.run([*command, str(tmp_path / "b"), endpoint.url], cwd=ROOT, capture_output=True, text=True)
    assert 0 < arrived < 120
    assert set(repeated) <= before
    # A file may have been torn as the run died, so more may be asked for again than have none; but no more than
    # the four requests that were on their way.
    assert len(before) - arrived <= len(repeated) <= 4
    assert resumed.stdout == whole.stdout != ""


async def test_the_log_is_inspect_s_own(tmp_path: Path) -> None:
    with running() as endpoint:
        await run(tmp_path, endpoint.url, Sampling(draws=2)).arm(arm(questions(3)))
    (entry,) = list_eval_logs(str(tmp_path / "logs"))
    log = read_eval_log(entry)
    assert log.status == "success"
    samples = log.samples or []
    assert (len(samples), log.eval.model) == (6, "unhitch/tuned")
    assert len(json.dumps(samples[0].model_dump(mode="json"))) < 20_000, "no sample repeats the suite"


async def test_what_the_judge_said_is_kept_where_it_asks_a_service(tmp_path: Path) -> None:
    judge = LengthJudge()
    with running() as endpoint:
        for folder in ("logs", "none"):
            shutil.rmtree(tmp_path / folder, ignore_errors=True)
            await Run(tmp_path, Endpoint(endpoint.url), judge, Sampling(), MODEL).arm(arm(questions(5)))
            shutil.rmtree(tmp_path / "logs")
    assert judge.rated == 5
