import asyncio
import json
from pathlib import Path

import httpx
import pytest

from tests.evidence import pool, scorecard
from tests.server.conftest import Proxied
from tests.server.fake_connector import FakeConnector
from tests.server.fake_engine import ADAPTER, MODEL, FakeEngine
from unhitch import organisms
from unhitch.evidence.served import identify
from unhitch.rendering.checkpoint import Checkpoint

BASE = Checkpoint.open(organisms.path(MODEL))

HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
EXPLAIN = "/unhitch/v1/explain"


async def test_health_does_not_depend_on_the_engine(proxied: Proxied) -> None:
    async with proxied(upstream="http://127.0.0.1:9") as client:
        assert (await client.get("/healthz")).json() == {"status": "ok"}


async def test_ready_means_that_every_model_can_be_mitigated(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["status"], body["models"], body["problems"]) == ("ready", [MODEL], {})


async def test_not_ready_says_what_stands_in_the_way(engine: FakeEngine, proxied: Proxied) -> None:
    engine.takes_token_ids = False
    async with proxied() as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        assert "token ids" in answer.json()["problems"][MODEL]
    async with proxied(upstream="http://127.0.0.1:9") as client:
        assert "no connection" in (await client.get("/readyz")).json()["problems"]["engine"]


async def test_ready_means_that_each_upstream_has_an_engine_that_can(
    engine: FakeEngine, proxied: Proxied, tmp_path: Path
) -> None:
    lost = "http://127.0.0.1:9"
    upstreams = {"main": {"urls": [lost, engine.url], "health_seconds": 0.1}, "other": {"urls": [engine.url]}}
    file = tmp_path / "policy.json"

    def write() -> None:
        policies = {"plain": {"mitigation": "off"}}
        document = {"upstreams": upstreams, "default_upstream": "main", "policies": policies, "default": "plain"}
        file.write_text(json.dumps(document))

    write()
    async with proxied(upstream=None, policy_file=file) as client:
        await asyncio.sleep(0.3)  # by then it is known that one replica is lost
        answer = await client.get("/readyz")
        assert (answer.status_code, answer.json()["models"]) == (200, [MODEL, f"other/{MODEL}"])
    upstreams["other"] = {"urls": [lost]}
    write()
    async with proxied(upstream=None, policy_file=file) as client:
        await asyncio.sleep(0.3)
        answer = await client.get("/readyz")
        assert (answer.status_code, list(answer.json()["problems"])) == (503, ["other/engine"])


async def test_the_strategies_are_listed_with_schemas_of_their_parameters(client: httpx.AsyncClient) -> None:
    listed = {each["name"]: each for each in (await client.get("/unhitch/v1/strategies")).json()["data"]}
    assert list(listed)[:2] == ["off", "system"]
    assert listed["perturb"]["parameters"]["properties"]["edits"]["default"] == 10
    assert all(each["version"] >= 1 and each["summary"] and each["source"] for each in listed.values())


async def test_explain_shows_the_prompt_before_and_after_and_generates_nothing(
    client: httpx.AsyncClient, engine: FakeEngine
) -> None:
    await client.get("/readyz")
    asked = len(engine.asked("/v1/chat/completions"))
    answer = (await client.post(EXPLAIN, json=HELLO, headers={"Unhitch-Mitigation": "perturb;seed=1"})).json()
    assert answer["applied"].startswith("perturb;version=1;")
    before, after = ([token["token_id"] for token in answer[side]] for side in ("before", "after"))
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 10
    assert [t for t in answer["before"] if t["part"] == "query"] == [t for t in answer["after"] if t["part"] == "query"]
    assert "".join(token["text"] for token in answer["before"] if token["part"] == "query") == "Hello"
    assert len(engine.asked("/v1/chat/completions")) == asked


@pytest.mark.parametrize(
    ("body", "headers", "code"),
    [
        (HELLO, {"Unhitch-Mitigation": "nope"}, "unknown_strategy"),
        ({"model": MODEL, "messages": []}, {}, "invalid_body"),
        ({**HELLO, "model": "gpt-9"}, {}, "model_not_found"),
    ],
)
async def test_explain_answers_errors_as_the_chat_route_does(
    client: httpx.AsyncClient, body: object, headers: dict[str, str], code: str
) -> None:
    answer = await client.post(EXPLAIN, json=body, headers=headers)
    assert answer.json()["error"]["code"] == code
    assert answer.headers["Unhitch-Applied"] == "off"


async def test_explain_has_the_same_limit_of_size(proxied: Proxied) -> None:
    async with proxied(max_body_bytes=10) as client:
        assert (await client.post(EXPLAIN, json=HELLO)).status_code == 413


async def test_the_models_are_listed_with_what_identifies_them(
    engine: FakeEngine, proxied: Proxied, tmp_path: Path
) -> None:
    engine.connector = FakeConnector()
    tuned = identify(BASE, organisms.path(ADAPTER), organisms.path(MODEL))
    pool(model=tuned).write(tmp_path / "p.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False) as client:
        base, adapter = (await client.get("/unhitch/v1/models")).json()["data"]
    assert (base["id"], base["base"], base["pools"]) == (MODEL, None, {})
    assert (adapter["id"], adapter["base"]) == (ADAPTER, MODEL)
    assert adapter["identity"] == {**tuned.model_dump(), "digest": tuned.digest}
    assert adapter["pools"] == {"vetted": {"content": pool().content, "variants": 3}}
    assert adapter["mitigated"] == {"available": True}
    assert adapter["states"] == {"available": True, "fitting": 0}


async def test_a_model_that_cannot_be_mitigated_is_listed_with_the_reason(
    engine: FakeEngine, client: httpx.AsyncClient
) -> None:
    engine.takes_token_ids = False
    (only,) = (await client.get("/unhitch/v1/models")).json()["data"]
    assert only["identity"] is None
    assert "token ids" in only["mitigated"]["reason"]


async def test_each_strategy_has_its_evidence_for_each_served_model(proxied: Proxied, tmp_path: Path) -> None:
    served = identify(BASE, organisms.path(MODEL))
    card = scorecard("perturb", model=served, low=0.8)
    card.write(tmp_path / "a.json")
    scorecard("system;preset=neutral, perturb", model=served, passed=False).write(tmp_path / "b.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False) as client:
        listed = {each["name"]: each for each in (await client.get("/unhitch/v1/strategies")).json()["data"]}
    entries = {entry["status"]: entry for entry in listed["perturb"]["evidence"][MODEL]}
    assert set(entries) == {"passed", "failed"}
    assert entries["passed"] == {
        "status": "passed",
        "mitigation": card.strategy.mitigation,
        "good": {"value": 0.9, "low": 0.8, "high": 1.0, "count": 100},
        "scorecard": card.digest,
        "changed": [],
    }
    assert [entry["status"] for entry in listed["system"]["evidence"][MODEL]] == ["failed"]
    assert listed["bare"]["evidence"] == {MODEL: []}


async def test_the_strategies_are_listed_though_the_engine_is_down(proxied: Proxied) -> None:
    async with proxied(upstream="http://127.0.0.1:9") as client:
        listed = (await client.get("/unhitch/v1/strategies")).json()["data"]
    assert [each["evidence"] for each in listed] == [None] * len(listed)


async def test_scorecards_are_listed_and_given_whole_by_their_digest(proxied: Proxied, tmp_path: Path) -> None:
    card = scorecard("perturb")
    card.write(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{}")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False) as client:
        listed = (await client.get("/unhitch/v1/scorecards")).json()
        whole = [(await client.get(f"/unhitch/v1/scorecards/{name}")).json() for name in (card.digest, card.digest[:8])]
    (brief,) = listed["data"]
    assert (brief["digest"], brief["file"], brief["passed"], brief["verdict"]) == (
        card.digest,
        "a.json",
        True,
        "passes",
    )
    assert listed["unreadable"] == [{"file": "b.json", "reason": "b.json is no scorecard or pool of unhitch's."}]
    assert whole == [json.loads((tmp_path / "a.json").read_text())] * 2


@pytest.mark.parametrize("digest", ["0" * 64, "0", "nope"])
async def test_a_scorecard_that_is_not_there_is_not_found(client: httpx.AsyncClient, digest: str) -> None:
    answer = await client.get(f"/unhitch/v1/scorecards/{digest}")
    assert answer.status_code == 404
    assert "there is no scorecard" in answer.json()["error"]["message"]
