"""vLLM's own server with the connector: receipts, refusals and routes as clients see them, several at once."""

from __future__ import annotations

import contextlib
import json
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import httpx
import pytest

from tests.e2e.states import shapes
from tests.e2e.states.cases import DIGEST, TOLERANCE, Bench, Case
from tests.e2e.states.conftest import Make
from tests.e2e.states.engines import PATIENCE_SECONDS
from unhitch.engine import command
from unhitch.engine.cpu_wheel import ONE_THREAD
from unhitch.engine.served import Served
from unhitch.errors import JudgeError
from unhitch.evals.judges.rated import RatedJudge
from unhitch.states.file import path
from unhitch.states.fingerprint import model_digest
from unhitch.states.patch import CONNECTOR_HEADER, PROTOCOL, STATES_ROUTE
from unhitch_server.network import free_port

pytestmark = pytest.mark.timeout(900)  # engines start slowly where other processes run too

KEY = "a-key"
GREEDY = {"temperature": 1.0, "top_k": 1}  # at temperature 0 vLLM gives one choice only
WAYS = ("completion", "completion-2", "completion-stream", "chat", "chat-2", "chat-stream")


@dataclass(frozen=True)
class Server:
    """A running server, and the models that it serves."""

    client: httpx.Client
    bench: Bench

    def post(self, case: Case, way: str, **fields: Any) -> httpx.Response:
        """Asks a case's request in one of `WAYS`."""
        route, _, variant = way.partition("-")
        body: dict[str, Any] = {
            "model": "base" if case.ask.base else "adapter",
            "max_tokens": case.ask.steps,
            "ignore_eos": True,
            "return_token_ids": True,
            "n": 2 if variant == "2" else 1,
            "stream": variant == "stream",
            **GREEDY,
        }
        params: dict[str, Any] = {} if case.ask.member is None else {"unhitch": case.ask.member}
        if route == "completion":
            body |= {"prompt": list(case.ask.prompt), "logprobs": 1}
        else:
            body |= {"messages": [{"role": "user", "content": "Hello"}], "logprobs": True, "top_logprobs": 1}
            params["prompt_token_ids"] = list(case.ask.prompt)
        body |= {"kv_transfer_params": params} if params else {}
        url = "/v1/completions" if route == "completion" else "/v1/chat/completions"
        return self.client.post(url, json=body | fields)


@pytest.fixture(scope="module")
def server(make: Make, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("states")
    bench = Bench(make("qwen2"), "adapter", folder)
    port = free_port()
    served = Served(str(bench.model), "base", {"adapter": str(bench.adapter)})
    extra = ["--dtype", "float32", "--block-size", "32", "--max-model-len", "512", "--api-key", KEY]
    built = command.build(served, host="127.0.0.1", port=port, states=folder, extra=extra)
    log = folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            built.arguments,
            env=built.environment | ONE_THREAD,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    headers = {"Authorization": f"Bearer {KEY}"}
    try:
        with httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=PATIENCE_SECONDS, trust_env=False
        ) as client:
            end = time.monotonic() + PATIENCE_SECONDS
            while not _healthy(client):
                assert process.poll() is None, log.read_text()
                assert time.monotonic() < end, log.read_text()
                time.sleep(0.2)
            yield Server(client, bench)
    finally:
        process.terminate()
        process.wait(60)


def _healthy(client: httpx.Client) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return client.get("/health").status_code == 200
    return False


@pytest.mark.parametrize("way", WAYS)
def test_patched_and_plain_requests(server: Server, way: str) -> None:
    pairs = [server.bench.pair(33, 10), server.bench.pair(64, 21, 5, patched="both")]
    for case in [case for pair in pairs for case in pair]:
        assert wrong(case, way, server.post(case, way)) == ""


@pytest.mark.parametrize(
    "fault",
    ["missing", "damaged", "cut", "other tokens", "too many positions", "of another model", "malformed", "logprobs"],
)
def test_a_refused_request_fails_in_every_way_and_others_do_not(server: Server, fault: str, make: Make) -> None:
    case, plain = server.bench.pair(40, 10)
    refused, fields = _refused(server, fault, case, make)
    with ThreadPoolExecutor(18) as threads:
        answers = [
            (one, way, threads.submit(server.post, one, way, **(fields if one is refused else {})))
            for way in WAYS
            for one in (refused, case, plain)
        ]
    for one, way, answer in answers:
        if one is refused:
            assert failed(answer.result()), (way, answer.result().text)
        else:
            assert wrong(one, way, answer.result()) == ""


def test_a_prompt_that_is_too_long_is_refused_by_the_engine_itself(server: Server) -> None:
    case, plain = server.bench.pair(40, 10)
    answer = server.post(case, "completion", prompt=[*case.ask.prompt, *shapes.words(1, 600)])
    assert (answer.status_code, answer.headers[CONNECTOR_HEADER]) == (400, str(PROTOCOL))
    assert wrong(plain, "completion", server.post(plain, "completion")) == ""


def test_a_state_captured_through_the_server(server: Server) -> None:
    case, _ = server.bench.pair(50, 10)
    bare = server.bench.of_base(case.ask.prompt[:50])
    mark = "c" * 64
    capture = {"span": "prefix", "start": 0, "tokens": 50, "tokenizer": mark, "template": DIGEST}
    answer = server.post(bare, "completion", kv_transfer_params={"unhitch": {"capture": capture}}, max_tokens=1)
    assert answer.status_code == 200, answer.text
    end = time.monotonic() + PATIENCE_SECONDS
    while not (found := [entry for entry in _listed(server)["data"] if entry["header"]["tokenizer"] == mark]):
        assert time.monotonic() < end
        time.sleep(0.05)
    member = {"patches": [{"state": found[0]["id"], "start": 0, "tokens": 50}]}
    answer = server.post(case, "chat", kv_transfer_params={"prompt_token_ids": case.ask.prompt, "unhitch": member})
    assert answer.json()["choices"][0]["token_ids"] == case.truth.tokens


def test_the_route_lists_models_and_states(server: Server) -> None:
    state = server.bench.state(shapes.words(5, 12))
    (server.bench.folder / f"{'e' * 64}.safetensors").write_bytes(b"no state")
    listed = _listed(server)
    base, adapter = (model_digest(place) for place in (server.bench.model, str(server.bench.adapter)))
    assert listed["models"] == [
        {"id": "base", "digest": base, "base": None, "base_digest": None},
        {"id": "adapter", "digest": adapter, "base": "base", "base_digest": base},
    ]
    assert (listed["protocol"], listed["overlays"]) == (PROTOCOL, True)
    [entry] = [entry for entry in listed["data"] if entry["id"] == state]
    assert entry["header"]["tokens"] == shapes.words(5, 12)
    assert [problem["file"] for problem in listed["problems"] if problem["file"].startswith("eee")] != []
    assert server.client.get(f"{STATES_ROUTE}/{state}").json() == entry


def test_the_route_verifies_a_state(server: Server) -> None:
    state = server.bench.state(shapes.words(6, 12))
    assert server.client.get(f"{STATES_ROUTE}/{state}").status_code == 200
    file = path(server.bench.folder, state)
    file.write_bytes(file.read_bytes()[:-1])
    damaged = server.client.get(f"{STATES_ROUTE}/{state}")
    file.unlink()
    missing = server.client.get(f"{STATES_ROUTE}/{state}")
    assert (damaged.status_code, missing.status_code) == (422, 404)
    assert all("message" in answer.json()["error"] for answer in (damaged, missing))


@pytest.mark.parametrize("route", ["/v1/models", STATES_ROUTE, f"{STATES_ROUTE}/{'0' * 64}"])
def test_the_routes_ask_for_the_same_key(server: Server, route: str) -> None:
    answer = server.client.get(route, headers={"Authorization": "Bearer another"})
    assert answer.status_code == 401


async def test_a_judge_that_asks_with_another_key_says_so(server: Server) -> None:
    judge = RatedJudge(str(server.client.base_url), "base", "another", max_retries=0)
    with pytest.raises(JudgeError, match="refused the API key"):
        await judge.check()
    await judge.close()


@pytest.mark.parametrize("route", ["/health", "/v1/models", "/v1/nothing", STATES_ROUTE])
def test_every_answer_says_that_the_connector_is_there(server: Server, route: str) -> None:
    assert server.client.get(route).headers[CONNECTOR_HEADER] == str(PROTOCOL)


def wrong(case: Case, way: str, answer: httpx.Response) -> str:
    """What is wrong with an answer that should be right; empty if nothing is."""
    if answer.status_code != 200 or answer.headers[CONNECTOR_HEADER] != str(PROTOCOL):
        return f"{case.name}, {way}: {answer.status_code} {answer.headers} {answer.text}"
    choices, receipt = _choices(way, answer)
    if not way.endswith("stream") and receipt != (case.ask.member and {"unhitch": case.ask.member}):
        return f"{case.name}, {way}: the receipt is {receipt}"
    if len(choices) != (2 if way.endswith("-2") else 1):
        return f"{case.name}, {way}: {len(choices)} choices"
    for tokens, logprobs in choices:
        if tokens != case.truth.tokens:
            return f"{case.name}, {way}: {tokens} instead of {case.truth.tokens}"
        if max(abs(one - other) for one, other in zip(logprobs, case.truth.logprobs, strict=True)) > TOLERANCE:
            return f"{case.name}, {way}: {logprobs} instead of {case.truth.logprobs}"
    return ""


def failed(answer: httpx.Response) -> bool:
    """Whether an answer is an error and nothing else, with no word of the model in it."""
    if answer.status_code != 200:
        return "message" in answer.json()["error"] and "choices" not in answer.json()
    events = list(_events(answer))
    said = [choice for event in events for choice in event.get("choices", ())]
    words = [choice.get("text") or choice.get("delta", {}).get("content") or choice.get("token_ids") for choice in said]
    return any("error" in event for event in events) and not any(words)


def _refused(server: Server, fault: str, case: Case, make: Make) -> tuple[Case, dict[str, Any]]:
    """A request that must be refused, and further fields of its body."""
    bench, prompt = server.bench, case.ask.prompt
    own = bench.state([*prompt[:40], len(fault)])  # not in memory yet
    file = path(bench.folder, own)
    patch: dict[str, Any] = {"state": own, "start": 0, "tokens": 40}
    if fault == "missing":
        file.unlink()
    elif fault == "damaged":
        content = file.read_bytes()
        file.write_bytes(content[:-3] + bytes([content[-3] ^ 64]) + content[-2:])
    elif fault == "cut":
        file.write_bytes(file.read_bytes()[:-100])
    elif fault == "other tokens":
        prompt = [*prompt[:39], prompt[39] + 1, *prompt[40:]]
    elif fault == "too many positions":
        patch["tokens"] = 42
    elif fault == "of another model":
        patch["state"] = Bench(make("llama", num_hidden_layers=2), "adapter", bench.folder).state(prompt[:40])
    elif fault == "malformed":
        patch = {"state": own}
    asked = replace(case.ask, prompt=prompt, member={"patches": [patch]})
    return replace(case, name=fault, ask=asked), {"prompt_logprobs": 1} if fault == "logprobs" else {}


def _listed(server: Server) -> dict[str, Any]:
    answer = server.client.get(STATES_ROUTE)
    assert answer.status_code == 200, answer.text
    listed: dict[str, Any] = answer.json()
    return listed


def _choices(way: str, answer: httpx.Response) -> tuple[list[tuple[list[int], list[float]]], Any]:
    """Token ids and logprobs of each choice, and the receipt."""
    if not way.endswith("stream"):
        body = answer.json()
        return [(c["token_ids"], _logprobs(c)) for c in body["choices"]], body.get("kv_transfer_params")
    tokens: list[int] = []
    logprobs: list[float] = []
    for event in _events(answer):
        for choice in event["choices"]:
            tokens += choice.get("token_ids") or []
            logprobs += _logprobs(choice) if choice.get("logprobs") else []
    return [(tokens, logprobs)], None


def _logprobs(choice: dict[str, Any]) -> list[float]:
    logprobs = choice["logprobs"]
    if "token_logprobs" in logprobs:
        found: list[float] = logprobs["token_logprobs"]
        return found
    return [entry["logprob"] for entry in logprobs["content"]]


def _events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    for line in answer.text.splitlines():
        if line.startswith("data: ") and line != "data: [DONE]":
            yield json.loads(line.removeprefix("data: "))
