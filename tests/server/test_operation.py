"""Policies, keys, aliases and shadow arms, all the way through the proxy."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.server.conftest import Proxied
from tests.server.fake_engine import MODEL, FakeEngine
from unhitch_server.access.keys import Keys

CHAT = "/v1/chat/completions"
EXPLAIN = "/unhitch/v1/explain"
LOCKED = {"mitigation": "bare", "clients_may": []}
FREE = {"mitigation": "off", "clients_may": ["choose", "off", "seed", "parameters"]}


def hello(model: object = MODEL, **fields: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": "Hello"}], **fields}


@pytest.fixture
def operated(proxied: Proxied, tmp_path: Path) -> Any:
    @asynccontextmanager
    async def run(document: dict[str, Any], **settings: object) -> AsyncIterator[httpx.AsyncClient]:
        file = tmp_path / "policy.yaml"
        file.write_text(json.dumps(document), "utf-8")
        async with proxied(policy_file=file, **settings) as client:
            yield client

    return run


def applied(answer: httpx.Response) -> str:
    return answer.headers["unhitch-applied"].split(";")[0]


@pytest.mark.parametrize(
    "headers",
    [
        {"Unhitch-Mitigation": "off"},
        {"unhitch-MITIGATION": "off"},
        {"Unhitch-Mitigation": "perturb"},
        {"Unhitch-Mitigation": "bare, off"},
        {"Unhitch-Session": '"mine"'},
    ],
)
async def test_a_locked_policy_holds_whatever_headers_come(
    operated: Any, engine: FakeEngine, headers: dict[str, str]
) -> None:
    async with operated({"policies": {"locked": LOCKED}, "default": "locked"}) as client:
        before = len(engine.asked(CHAT))
        answer = await client.post(CHAT, json=hello(), headers=headers)
        assert answer.status_code in (400, 403)
        assert len(engine.asked(CHAT)) == before
        assert applied(await client.post(CHAT, json=hello())) == "bare"


@pytest.mark.parametrize("path", ["//v1/chat/completions", "/v1/chat/completions/", "/v1//chat/completions"])
async def test_no_spelling_of_a_path_leads_past_a_rule_on_it(operated: Any, engine: FakeEngine, path: str) -> None:
    rules = [{"routes": [CHAT], "policy": "locked"}]
    async with operated({"policies": {"locked": LOCKED, "free": FREE}, "default": "free", "rules": rules}) as client:
        url = httpx.URL(str(client.base_url)).copy_with(raw_path=path.encode())
        before = len(engine.requests)
        answer = await client.post(url, json=hello())
        assert answer.status_code in (404, 422)
        assert [
            each.target for each in engine.requests[before:] if each.method == "POST" and "chat" in each.target
        ] == []


async def test_an_alias_is_the_engine_s_model_under_its_own_policy(operated: Any, engine: FakeEngine) -> None:
    document = {
        "policies": {"locked": LOCKED, "free": FREE},
        "default": "free",
        "models": {"safe": {"model": MODEL, "policy": "locked"}},
    }
    async with operated(document) as client:
        assert applied(await client.post(CHAT, json=hello())) == "off"
        assert applied(await client.post(CHAT, json=hello("safe"))) == "bare"
        assert engine.asked(CHAT)[-1].json["model"] == MODEL
        off = await client.post(CHAT, json=hello("safe"), headers={"Unhitch-Mitigation": "off"})
        assert off.status_code == 403
        models = [card["id"] for card in (await client.get("/v1/models")).json()["data"]]
        assert models == [MODEL, "safe"]


async def test_the_dry_run_goes_by_rules_and_aliases_as_the_chat_route_does(operated: Any) -> None:
    document = {
        "policies": {"locked": LOCKED, "free": FREE},
        "default": "free",
        "models": {"safe": {"model": MODEL, "policy": "locked"}, "same": {"model": MODEL}},
        "rules": [{"models": ["same"], "routes": [CHAT], "policy": "locked"}],
    }
    async with operated(document) as client:
        found = {model: await client.post(EXPLAIN, json=hello(model)) for model in (MODEL, "safe", "same")}
        assert [each.json()["applied"].split(";")[0] for each in found.values()] == ["off", "bare", "bare"]
        assert found["safe"].json()["model"] == MODEL
        off = await client.post(EXPLAIN, json=hello("safe"), headers={"Unhitch-Mitigation": "off"})
        assert off.status_code == 403


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ({"messages": hello()["messages"]}, {}),
        (hello(3), {}),
        (hello(messages=3), {}),
        (hello(messages=3), {"Unhitch-Mitigation": "perturb;"}),
        ([], {"Unhitch-Policy": "nope"}),
        (hello("gpt-9"), {"Unhitch-Mitigation": "bare"}),
        (hello("safe"), {"Unhitch-Mitigation": "off"}),
    ],
)
async def test_the_dry_run_refuses_what_the_chat_route_refuses_in_the_same_words(
    operated: Any, body: object, headers: dict[str, str]
) -> None:
    document = {
        "policies": {"locked": LOCKED, "free": FREE},
        "default": "locked",
        "models": {"safe": {"model": MODEL, "policy": "locked"}},
        "rules": [{"models": ["gpt-*"], "policy": "free"}],
    }
    async with operated(document) as client:
        chat, dry = [await client.post(path, json=body, headers=headers) for path in (CHAT, EXPLAIN)]
        assert chat.status_code == dry.status_code >= 400
        assert chat.json() == dry.json()


async def test_the_dry_run_draws_the_share_of_a_rollout_that_the_chat_route_draws(operated: Any) -> None:
    trial = {"mitigation": "bare", "rollout": {"percent": 50, "otherwise": "free"}}
    async with operated({"policies": {"trial": trial, "free": FREE}, "default": "trial"}) as client:
        arms = []
        for number in range(12):
            body = hello(messages=[{"role": "user", "content": str(number)}])
            arms.append(applied(await client.post(CHAT, json=body)))
            assert (await client.post(EXPLAIN, json=body)).json()["applied"].split(";")[0] == arms[-1]
        assert set(arms) == {"bare", "off"}


async def test_a_policy_that_fails_open_lets_through_what_cannot_be_mitigated_and_says_so(operated: Any) -> None:
    policy = {"mitigation": "prefix-state", "on_failure": "open", "clients_may": ["choose"]}
    async with operated({"policies": {"open": policy}, "default": "open"}) as client:
        passed = await client.post(CHAT, json=hello())
        assert (passed.status_code, applied(passed)) == (200, "off")
        assert passed.headers["unhitch-failed-open"] == "mitigation_unavailable"
        asked = await client.post(CHAT, json=hello(), headers={"Unhitch-Mitigation": "prefix-state;mix=0.5"})
        assert asked.status_code == 422, "what the client itself asked for is never passed over"
        counts = (await client.get("/unhitch/v1/status")).json()["requests"]
        assert (counts["failed_open"], counts["unmitigated"]) == (1, 0)


async def test_keys_have_their_models_and_the_engine_never_sees_them(
    operated: Any, engine: FakeEngine, tmp_path: Path
) -> None:
    keys, secret = Keys().added("team", models=("other*",))
    keys.write(tmp_path / "keys.json")
    settings = {"key_file": tmp_path / "keys.json", "upstream_api_key": "engine-key"}
    async with operated({"policies": {"locked": LOCKED}, "default": "locked"}, **settings) as client:
        assert (await client.post(CHAT, json=hello())).status_code == 401
        mine = {"Authorization": f"Bearer {secret}"}
        assert (await client.post(CHAT, json=hello(), headers=mine)).status_code == 403
        assert (await client.get("/v1/models", headers=mine)).json()["data"] == []
        assert (await client.get("/unhitch/v1/status", headers=mine)).status_code in (401, 403)
        assert not any(secret.encode() in value for each in engine.requests for _, value in each.headers)


async def test_a_key_for_some_models_is_for_no_others_on_any_route(operated: Any, tmp_path: Path) -> None:
    keys, secret = Keys().added("team", models=("mine*",))
    file = tmp_path / "keys.json"
    keys.write(file)
    bearer = {"Authorization": f"Bearer {secret}"}
    async with operated({"policies": {"p": {"mitigation": "off"}}, "default": "p"}, key_file=file) as client:
        for route in ("/v1/embeddings", "/tokenize", "/v1/audio/transcriptions", CHAT):
            refused = await client.post(route, json={"model": MODEL, "input": "Hello"}, headers=bearer)
            assert refused.json()["error"]["code"] == "not_permitted", route
        form = await client.post("/v1/audio/transcriptions", data={"model": "mine"}, headers=bearer)
        assert form.json()["error"]["code"] == "not_permitted"
        let_through = await client.post("/v1/embeddings", json={"model": "mine-1", "input": "Hello"}, headers=bearer)
        assert let_through.status_code == 404, "the fake engine has no such route"


async def test_each_key_has_the_engine_s_cache_for_itself_unless_it_is_shared(
    operated: Any, engine: FakeEngine, tmp_path: Path
) -> None:
    keys, first = Keys().added("first")
    keys, second = keys.added("second")
    file = tmp_path / "keys.json"
    keys.write(file)
    document = {"policies": {"p": {"mitigation": "off", "clients_may": ["choose"]}}, "default": "p"}

    async def salts(**settings: object) -> list[object]:
        engine.requests.clear()
        async with operated(document, key_file=file, **settings) as client:
            for secret in (first, first, second):
                for more in ({}, {"Unhitch-Mitigation": "bare"}):
                    headers = {"Authorization": f"Bearer {secret}", **more}
                    assert (await client.post(CHAT, json=hello(), headers=headers)).status_code == 200
        asked = [each.json for each in engine.asked(CHAT) if each.json.get("max_tokens") != 1]
        return [each.get("cache_salt") for each in asked]

    one, two = (await salts())[0], (await salts())[-1]
    assert one != two
    assert await salts() == [one] * 4 + [two] * 2
    assert await salts(separate_caches=False) == [None] * 6


async def test_what_the_proxy_asks_itself_goes_with_the_engine_s_key_and_without_the_client_s(
    operated: Any, engine: FakeEngine, tmp_path: Path
) -> None:
    keys, secret = Keys().added("team")
    keys.write(tmp_path / "keys.json")
    settings = {"key_file": tmp_path / "keys.json", "upstream_api_key": "engine-key"}
    canary = {"model": MODEL, "suite": "organism", "judge": "exact", "questions": 1, "every_seconds": 3600}
    policy = LOCKED | {"shadow": {"percent": 100, "mitigation": "off"}}
    document = {"policies": {"p": policy}, "default": "p", "canaries": {"c": canary}}
    async with operated(document, shadow_file=tmp_path / "shadow.jsonl", **settings) as client:
        await client.post(CHAT, json=hello(), headers={"Authorization": f"Bearer {secret}"})
        for _ in range(500):
            if len(engine.asked(CHAT)) >= 5:  # a probe, the client's and its shadow, the canary's and its shadow
                break
            await asyncio.sleep(0.02)
    assert len(engine.asked(CHAT)) >= 5
    assert {each.header("authorization") for each in engine.asked(CHAT)} == {"Bearer engine-key"}


async def test_the_shadow_arm_keeps_both_answers(operated: Any, tmp_path: Path) -> None:
    policy = LOCKED | {"shadow": {"percent": 100, "mitigation": "off"}}
    file = tmp_path / "shadow.jsonl"
    async with operated({"policies": {"p": policy}, "default": "p"}, shadow_file=file) as client:
        answer = await client.post(CHAT, json=hello())
        for _ in range(200):
            if (await client.get("/unhitch/v1/status")).json()["shadow"]["asked"]:
                break
            await asyncio.sleep(0.02)
    arms = json.loads(file.read_text("utf-8"))["arms"]
    assert arms["primary"]["body"] == answer.text
    assert arms["primary"]["headers"]["unhitch-applied"].startswith("bare;")
    assert (arms["shadow"]["headers"]["unhitch-applied"], arms["shadow"]["status"]) == ("off", 200)


async def test_sighup_has_the_file_read_again_and_a_broken_one_changes_nothing(
    operated: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("unhitch_server.policy.reload.LOOK_SECONDS", 1000)
    file = tmp_path / "policy.yaml"

    async def told(client: httpx.AsyncClient, text: str, key: str) -> Any:
        before = (await client.get("/unhitch/v1/policies")).json()[key]
        file.write_text(text, "utf-8")
        os.kill(os.getpid(), signal.SIGHUP)
        for _ in range(200):
            if (after := (await client.get("/unhitch/v1/policies")).json()[key]) != before:
                return after
            await asyncio.sleep(0.02)
        return before

    async with operated({"policies": {"locked": LOCKED, "free": FREE}, "default": "free"}) as client:
        assert applied(await client.post(CHAT, json=hello())) == "off"
        changed = json.dumps({"policies": {"locked": LOCKED, "free": FREE}, "default": "locked"})
        assert await told(client, changed, "default") == "locked"
        assert applied(await client.post(CHAT, json=hello())) == "bare"
        assert "policy.yaml:1" in await told(client, "policies: [", "problem")
        assert applied(await client.post(CHAT, json=hello())) == "bare"


async def test_a_canary_asks_as_clients_do_and_its_finding_can_be_read(operated: Any, engine: FakeEngine) -> None:
    canary = {"model": MODEL, "suite": "organism", "judge": "exact", "questions": 3, "every_seconds": 3600}
    async with operated({"policies": {"locked": LOCKED}, "default": "locked", "canaries": {"c": canary}}) as client:
        for _ in range(500):
            found = (await client.get("/unhitch/v1/status")).json()["canaries"]["c"]
            if found["runs"]:
                break
            await asyncio.sleep(0.02)
    assert (found["asked"], found["answered"], found["alarm"], found["problem"]) == (3, 3, False, "")
    assert all("prompt_token_ids" in each.json["kv_transfer_params"] for each in engine.asked(CHAT)), "mitigated"


async def test_the_policies_in_force_can_be_read(operated: Any) -> None:
    async with operated({"policies": {"locked": LOCKED, "free": FREE}, "default": "free"}) as client:
        found = (await client.get("/unhitch/v1/policies")).json()
        assert [(each["name"], each["mitigation"]) for each in found["data"]] == [("locked", "bare"), ("free", "off")]
        assert (found["default"], found["problem"]) == ("free", None)
