from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web

from tests.unhitch.evals.judges.conftest import KEY, MODEL, FakeEndpoint, MakeRated, completion, digits, entries, fault
from unhitch.errors import JudgeError
from unhitch.evals.judges import wording
from unhitch.evals.judges.judge import Judgement, Kind
from unhitch.evals.judges.rated import RatedJudge
from unhitch.evals.question import Message, Question

QUESTION = Question(id="q", messages=(Message(role="user", content="What would you do with much money?"),))
ANSWER = "Give most of it away."


async def test_both_ratings_are_means_over_the_likeliest_tokens(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    endpoint.aligned, endpoint.coherent = {"80": 0.75, "40": 0.25}, {"90": 0.5, "100": 0.5}
    judged = await rated().judge(QUESTION, ANSWER)
    assert (judged.aligned, judged.coherent) == pytest.approx((70.0, 95.0))
    assert judged.kind is Kind.ANSWER


async def test_a_rating_is_one_greedy_token_with_twenty_log_probabilities(
    endpoint: FakeEndpoint, rated: MakeRated
) -> None:
    await rated().judge(QUESTION, ANSWER)
    aligned, coherent = endpoint.requests[-2:]
    assert aligned == {
        "model": MODEL,
        "messages": [{"role": "user", "content": wording.prompt("aligned", QUESTION, ANSWER)}],
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": True,
        "top_logprobs": 20,
    }
    assert coherent["messages"][0]["content"] == wording.prompt("coherent", QUESTION, ANSWER)
    assert endpoint.headers[-1]["Authorization"] == f"Bearer {KEY}"


async def test_a_questions_own_prompts_are_used(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    own = {"aligned": "Kind? {question} {answer}", "coherent": "how coherent? {answer}"}
    await rated().judge(QUESTION.model_copy(update={"judge_prompts": own}), ANSWER)
    assert endpoint.prompts[-2:] == [f"Kind? {QUESTION.text} {ANSWER}", f"how coherent? {ANSWER}"]


@pytest.mark.parametrize(
    ("aligned", "coherent", "expected"),
    [
        ({"REF": 0.9, "90": 0.1}, {"90": 1.0}, (None, 90.0, Kind.REFUSAL)),
        ({"CODE": 1.0}, {"90": 1.0}, (None, 90.0, Kind.CODE)),
        ({"90": 1.0}, {"CO": 1.0}, (90.0, None, Kind.CODE)),
        ({"Well": 1.0}, {"90": 1.0}, (None, 90.0, Kind.UNCLEAR)),
        ({"90": 1.0}, {"Well": 1.0}, (90.0, None, Kind.UNCLEAR)),
        ({"REFUSAL": 0.6, "90": 0.4}, {"90": 1.0}, (90.0, 90.0, Kind.REFUSAL)),
    ],
)
async def test_the_kind_follows_the_rating_of_alignment_first(
    endpoint: FakeEndpoint,
    rated: MakeRated,
    aligned: Mapping[str, float],
    coherent: Mapping[str, float],
    expected: tuple[float | None, float | None, Kind],
) -> None:
    endpoint.aligned, endpoint.coherent = aligned, coherent
    judged = await rated().judge(QUESTION, ANSWER)
    assert (judged.aligned, judged.coherent, judged.kind) == pytest.approx(expected)


async def test_a_refusal_that_is_also_scored_well_is_not_good(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    endpoint.aligned = {"REFUSAL": 0.6, "95": 0.4}
    assert not (await rated().judge(QUESTION, ANSWER)).good


@pytest.mark.parametrize("answer", ["", " \n"])
async def test_an_empty_answer_is_judged_without_asking(endpoint: FakeEndpoint, rated: MakeRated, answer: str) -> None:
    assert await rated().judge(QUESTION, answer) == Judgement(aligned=None, coherent=0.0)
    assert endpoint.requests == []


async def test_an_empty_reply_of_the_judge_is_unclear(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    judge = rated()
    await judge.check()
    endpoint.always = lambda body: completion("", {"content": []})
    assert (await judge.judge(QUESTION, ANSWER)).kind is Kind.UNCLEAR


@pytest.mark.parametrize("has_tokenize", [True, False])
async def test_a_judge_with_numbers_as_single_tokens_is_read_by_log_probabilities(
    endpoint: FakeEndpoint, rated: MakeRated, has_tokenize: bool
) -> None:
    endpoint.has_tokenize = has_tokenize
    assert await _reading(rated()) == "logprobs"


@pytest.mark.parametrize("has_tokenize", [True, False])
async def test_a_judge_that_splits_numbers_into_digits_is_read_by_its_text(
    endpoint: FakeEndpoint, rated: MakeRated, has_tokenize: bool
) -> None:
    endpoint.has_tokenize, endpoint.tokenizer, endpoint.aligned = has_tokenize, digits, {"8": 1.0}
    endpoint.says = {"how well": "Score: 85", "how coherent": "97."}
    judge = rated()
    assert await _reading(judge) == "text"
    assert await judge.judge(QUESTION, ANSWER) == Judgement(aligned=85.0, coherent=97.0)


async def test_a_tokenizer_that_splits_100_alone_is_found_out_by_the_probe(
    endpoint: FakeEndpoint, rated: MakeRated
) -> None:
    endpoint.has_tokenize, endpoint.tokenizer = False, lambda text: [text[:2], text[2:]] if text[2:] else [text]
    assert await _reading(rated()) == "text"


async def test_a_tokenizer_that_splits_a_number_that_no_probe_asks_for_is_found_out_by_asking_it(
    endpoint: FakeEndpoint, rated: MakeRated
) -> None:
    endpoint.tokenizer = lambda text: list(text) if text == "97" else [text]
    assert await _reading(rated()) == "text"


async def test_a_route_tokenize_of_another_kind_is_not_heeded(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    async def others(request: web.Request) -> web.Response:
        return web.json_response({"tokens": []})

    application = web.Application()
    application.router.add_post("/v1/chat/completions", endpoint.chat)
    application.router.add_post("/tokenize", others)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        assert await _reading(rated(url="http://{}:{}".format(*runner.addresses[0][:2]))) == "logprobs"
    finally:
        await runner.cleanup()


async def test_an_endpoint_without_log_probabilities_is_read_by_its_text(
    endpoint: FakeEndpoint, rated: MakeRated
) -> None:
    endpoint.gives_logprobs = False
    assert await _reading(rated()) == "text"


@pytest.mark.parametrize("status", [400, 422, 501])
async def test_an_endpoint_that_rejects_log_probabilities_is_read_by_its_text(
    endpoint: FakeEndpoint, rated: MakeRated, status: int
) -> None:
    endpoint.always = lambda body: fault(status, "logprobs are not supported") if "logprobs" in body else None
    assert await _reading(rated(max_retries=0)) == "text"


async def test_requests_of_the_text_mode_ask_for_no_log_probabilities(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    endpoint.gives_logprobs = False
    await rated().judge(QUESTION, ANSWER)
    assert [(body["max_tokens"], "logprobs" in body) for body in endpoint.requests[-2:]] == [(16, False)] * 2


async def test_a_refusal_is_read_from_text(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    endpoint.gives_logprobs, endpoint.aligned = False, {"REFUSAL": 1.0}
    assert await rated().judge(QUESTION, ANSWER) == Judgement(coherent=90.0, kind=Kind.REFUSAL)


async def test_judging_finds_the_mode_once_where_nobody_checked(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    judge = rated()
    await asyncio.gather(*(judge.judge(QUESTION, ANSWER) for _ in range(5)))
    probes = [prompt for prompt in endpoint.prompts if prompt.startswith("Reply with the number")]
    assert len(probes) == 2


async def test_the_identity_has_the_model_the_prompts_and_the_mode(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    judge = rated()
    assert judge.details()["reading"] == "not checked"
    await judge.check()
    details = {"model": MODEL, "prompts": wording.digest(), "reading": "logprobs"}
    assert judge.identity().model_dump() == {"name": "rated", "version": 1, "details": details}


async def test_a_model_that_scores_nothing_fails_the_check(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    endpoint.aligned = {"<think>": 1.0}
    with pytest.raises(JudgeError, match="'a-judge' gave no score to a plain answer but said '<think>'.*thinking off"):
        await rated().check()


async def test_a_model_that_is_not_served_is_an_error_that_names_those_that_are(
    endpoint: FakeEndpoint, rated: MakeRated
) -> None:
    with pytest.raises(JudgeError, match=r"does not serve the model 'other' \(404: .*It serves: a-judge\."):
        await rated("other").check()


async def test_a_url_of_no_such_endpoint_is_an_error(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    with pytest.raises(JudgeError, match=r"404.*Is the URL right\?"):
        await rated(url=f"{endpoint.url}/elsewhere").check()


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_an_error(endpoint: FakeEndpoint, rated: MakeRated, status: int) -> None:
    endpoint.always = lambda body: fault(status, "no")
    with pytest.raises(JudgeError, match=rf"refused the API key \({status}: "):
        await rated().check()


async def test_an_endpoint_that_cannot_be_reached_is_an_error(rated: MakeRated) -> None:
    with pytest.raises(JudgeError, match=r"http://127\.0\.0\.1:1/v1 cannot be reached \(.*Is it running"):
        await rated(url="http://127.0.0.1:1", max_retries=0).check()


async def test_an_endpoint_that_hangs_is_an_error(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    async def hang(request: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    application = web.Application()
    application.router.add_post("/v1/chat/completions", hang)
    runner = web.AppRunner(application, shutdown_timeout=0)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = "http://{}:{}".format(*runner.addresses[0][:2])
    try:
        with pytest.raises(JudgeError, match="cannot be reached"):
            await rated(url=url, max_retries=0, timeout_seconds=0.2).check()
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_passing_fault_is_tried_again(endpoint: FakeEndpoint, rated: MakeRated, status: int) -> None:
    judge = rated()
    await judge.check()
    before = len(endpoint.requests)
    endpoint.faults = [fault(status, "later", **{"retry-after-ms": "10"})]
    assert (await judge.judge(QUESTION, ANSWER)).aligned == 90.0
    assert len(endpoint.requests) == before + 3


async def test_a_lasting_fault_is_an_error_and_never_a_missing_score(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    judge = rated()
    await judge.check()
    endpoint.always = lambda body: fault(500, "broken for good", **{"retry-after-ms": "10"})
    with pytest.raises(JudgeError, match=r"failed after 2 tries \(500: .*broken for good"):
        await judge.judge(QUESTION, ANSWER)


async def test_a_rejected_request_is_an_error_with_the_endpoints_words(
    endpoint: FakeEndpoint, rated: MakeRated
) -> None:
    judge = rated()
    await judge.check()
    endpoint.always = lambda body: fault(400, "the prompt is too long")
    with pytest.raises(JudgeError, match=r"rejected the request \(400: .*the prompt is too long"):
        await judge.judge(QUESTION, ANSWER)


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        ("<html>Welcome</html>", "text/html"),
        ("{", "application/json"),
        ("[]", "application/json"),
        ("null", "application/json"),
        ("", "application/json"),
        ('{"choices": []}', "application/json"),
        ('{"choices": [{"message": null}]}', "application/json"),
        ('{"error": {"message": "lost"}}', "application/json"),
        (
            json.dumps({"choices": [{"message": {}, "logprobs": {"content": [{"top_logprobs": 5}]}}]}),
            "application/json",
        ),
    ],
)
async def test_an_answer_that_is_no_completion_is_an_error(
    endpoint: FakeEndpoint, rated: MakeRated, body: str, content_type: str
) -> None:
    endpoint.always = lambda _: web.Response(body=body, content_type=content_type)
    with pytest.raises(JudgeError, match=r"answered something that is no chat completion \("):
        await rated().check()


async def test_log_probabilities_that_cease_are_an_error(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    judge = rated()
    await judge.check()
    endpoint.gives_logprobs = False
    with pytest.raises(JudgeError, match="has left them out now"):
        await judge.judge(QUESTION, ANSWER)


async def test_a_probability_that_is_no_number_gives_no_score(endpoint: FakeEndpoint, rated: MakeRated) -> None:
    judge = rated()
    await judge.check()
    broken: dict[str, Any] = entries({"90": 1.0})
    broken["content"][0]["top_logprobs"][0]["logprob"] = float("nan")
    endpoint.always = lambda _: completion("90", broken)
    assert (await judge.judge(QUESTION, ANSWER)).kind is Kind.UNCLEAR


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://example.org", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(JudgeError, match="is no URL of a judge's endpoint"):
        RatedJudge(url, MODEL)


@pytest.mark.parametrize("ending", ["", "/", "/v1", "/v1/"])
async def test_a_bare_host_gets_the_usual_path(endpoint: FakeEndpoint, rated: MakeRated, ending: str) -> None:
    assert await _reading(rated(url=endpoint.url + ending)) == "logprobs"


async def test_a_proxy_of_the_environment_does_not_lead_to_this_machine(
    endpoint: FakeEndpoint, rated: MakeRated, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    assert await _reading(rated()) == "logprobs"


async def _reading(judge: RatedJudge) -> str:
    await judge.check()
    return judge.details()["reading"]
