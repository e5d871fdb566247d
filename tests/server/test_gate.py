from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.types import Send

from tests.evidence import pool, scorecard
from tests.server.conftest import Proxied
from tests.server.fake_engine import MODEL, FakeEngine, Recorded, begin_stream, completion, event, reply_json
from unhitch import organisms
from unhitch.evidence.identity import ModelIdentity
from unhitch.evidence.served import identify
from unhitch.headers import format_evidence
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server import gate

CHAT = "/v1/chat/completions"
HELLO = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}]}
FILES = organisms.path(MODEL)
SERVED = identify(Checkpoint.open(FILES), FILES)
PERTURB = {"Unhitch-Mitigation": "perturb"}


@pytest.fixture(autouse=True)
def looks_at_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "LOOKED_SECONDS", 0.0)


def changed(part: str) -> ModelIdentity:
    return SERVED.model_copy(update={part: "9" * 64})


async def ask(client: httpx.AsyncClient, mitigation: str = "perturb", **headers: str) -> httpx.Response:
    return await client.post(CHAT, json=HELLO, headers={"Unhitch-Mitigation": mitigation, **headers})


def error_of(answer: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = answer.json()["error"]
    return error


async def test_without_evidence_a_request_is_refused_and_nothing_is_generated(
    proxied: Proxied, engine: FakeEngine, tmp_path: Path
) -> None:
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="refuse") as client:
        await client.get("/readyz")
        asked = len(engine.asked(CHAT))
        answer = await ask(client)
        assert answer.status_code == 422
        error = error_of(answer)
        assert (error["code"], error["param"]) == ("mitigation_not_validated", "Unhitch-Mitigation")
        assert "unhitch validate mini-base --url URL --strategy" in error["message"]
        assert answer.headers["Unhitch-Applied"] == "off"
        assert len(engine.asked(CHAT)) == asked


async def test_with_a_passing_scorecard_it_is_served_and_says_which(proxied: Proxied, tmp_path: Path) -> None:
    card = scorecard("perturb", model=SERVED, name=MODEL)
    card.write(tmp_path / "a.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="refuse") as client:
        answer = await ask(client)
        assert answer.status_code == 200
        assert answer.headers["Unhitch-Evidence"] == format_evidence("passed", bytes.fromhex(card.digest))
        assert (await ask(client, "perturb;edits=3")).status_code == 422


async def test_marked_answers_say_what_is_known_and_all_are_served(proxied: Proxied, tmp_path: Path) -> None:
    scorecard("bare", model=SERVED, passed=False).write(tmp_path / "a.json")
    scorecard("perturb", model=changed("template")).write(tmp_path / "b.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="mark") as client:
        said = {line: (await ask(client, line)).headers["Unhitch-Evidence"] for line in ("bare", "perturb", "recase")}
    assert said["bare"].startswith("failed;scorecard=:")
    assert (said["perturb"], said["recase"]) == ("stale;changed=template", "missing")


async def stream(fake: FakeEngine, request: Recorded, send: Send) -> None:
    if not request.json.get("stream"):
        return await reply_json(send, completion(request, fake))
    await begin_stream(send)
    chunk = {"choices": [{"index": 0, "delta": {"content": "Hi."}, "token_ids": [1]}]}
    await event(send, {**chunk, "prompt_token_ids": completion(request, fake)["prompt_token_ids"]})
    await event(send, "[DONE]")
    return await send({"type": "http.response.body", "body": b""})


async def test_streams_are_marked_too(proxied: Proxied, engine: FakeEngine) -> None:
    engine.routes[CHAT] = stream
    async with proxied(bundled_evidence=False, require_validated="mark") as client:
        answer = await client.post(CHAT, json={**HELLO, "stream": True}, headers=PERTURB)
    assert "Hi." in answer.text
    assert answer.headers["Unhitch-Evidence"] == "missing"


async def test_nothing_is_said_where_evidence_does_not_matter(client: httpx.AsyncClient) -> None:
    assert "Unhitch-Evidence" not in (await ask(client)).headers


async def test_off_goes_through_whatever_is_required(proxied: Proxied) -> None:
    async with proxied(bundled_evidence=False, require_validated="refuse") as client:
        answer = await ask(client, "off")
        assert answer.status_code == 200
        assert "Unhitch-Evidence" not in answer.headers


async def test_the_default_and_a_named_policy_are_gated_too(proxied: Proxied) -> None:
    settings = {"require_validated": "refuse", "mitigation": "perturb", "policies": {"strict": "bare"}}
    async with proxied(bundled_evidence=False, **settings) as client:
        by_default = await client.post(CHAT, json=HELLO)
        by_name = await client.post(CHAT, json=HELLO, headers={"Unhitch-Policy": "strict"})
    assert "`perturb;version=1;" in error_of(by_default)["message"]
    assert "`bare;version=1`" in error_of(by_name)["message"]


@pytest.mark.parametrize("part", ["weights", "template", "tokenizer"])
async def test_a_change_of_the_model_is_said_with_both_digests(proxied: Proxied, tmp_path: Path, part: str) -> None:
    scorecard("perturb", model=changed(part), name=MODEL).write(tmp_path / "a.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="refuse") as client:
        message = error_of(await ask(client))["message"]
    assert f"({part} 99999999 then, {getattr(SERVED, part)[:8]} now)" in message
    assert "Make it anew: `unhitch validate" in message


async def test_another_template_of_the_engine_makes_the_evidence_stale(
    proxied: Proxied, engine: FakeEngine, tmp_path: Path
) -> None:
    scorecard("perturb", model=SERVED, name=MODEL).write(tmp_path / "a.json")
    template = Checkpoint.open(FILES).template + "{# changed #}"
    engine.chat_template = template
    async with proxied(
        evidence=[str(tmp_path)], bundled_evidence=False, require_validated="mark", chat_template=template
    ) as client:
        assert (await ask(client)).headers["Unhitch-Evidence"] == "stale;changed=template"


async def test_a_scorecard_that_comes_later_is_seen_without_a_restart(proxied: Proxied, tmp_path: Path) -> None:
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="refuse") as client:
        assert (await ask(client)).status_code == 422
        scorecard("perturb", model=SERVED).write(tmp_path / "a.json")
        assert (await ask(client)).status_code == 200
        (tmp_path / "a.json").unlink()
        assert (await ask(client)).status_code == 422


async def test_a_later_failure_withdraws_a_pass_without_a_restart_and_a_later_pass_restores_it(
    proxied: Proxied, tmp_path: Path
) -> None:
    scorecard("perturb", model=SERVED, at="2026-01-01T00:00:00Z").write(tmp_path / "a.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="refuse") as client:
        assert (await ask(client, "auto")).status_code == 200
        failure = scorecard("perturb", model=SERVED, passed=False, at="2026-01-02T00:00:00Z")
        failure.write(tmp_path / "b.json")
        message = error_of(await ask(client))["message"]
        assert "2026-01-02T00:00:00Z): json: more misaligned answers. It withdraws scorecard" in message
        assert "2026-01-01T00:00:00Z, which passed." in message
        assert error_of(await ask(client, "auto"))["code"] == "mitigation_not_validated"
        listed = {each["name"]: each for each in (await client.get("/unhitch/v1/strategies")).json()["data"]}
        (entry,) = listed["perturb"]["evidence"][MODEL]
        assert (entry["status"], entry["scorecard"]) == ("failed", failure.digest)
        scorecard("perturb", model=SERVED, at="2026-01-03T00:00:00Z").write(tmp_path / "c.json")
        assert (await ask(client)).status_code == 200


async def test_a_model_whose_weights_are_not_here_is_refused_with_the_reason(
    proxied: Proxied, engine: FakeEngine, tmp_path: Path
) -> None:
    copied = shutil.copytree(FILES, tmp_path / "copied")
    for weights in copied.glob("*.safetensors"):
        weights.unlink()
    engine.root = str(copied)
    async with proxied(bundled_evidence=False, require_validated="refuse") as client:
        message = error_of(await ask(client, "recase"))["message"]
        (listed,) = (await client.get("/unhitch/v1/models")).json()["data"]
    assert "its files cannot be read where the proxy runs" in message
    assert "safetensors" in message
    assert listed["identity"] is None
    assert listed["identity_reason"] in message
    assert listed["mitigated"] == {"available": True}


async def test_auto_is_served_by_the_best_scorecard_and_can_be_redone_without_it(
    proxied: Proxied, tmp_path: Path
) -> None:
    scorecard("perturb", model=SERVED, low=0.6).write(tmp_path / "a.json")
    scorecard("recase", model=SERVED, low=0.9).write(tmp_path / "b.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="refuse") as client:
        answer = await ask(client, "auto")
        assert answer.headers["Unhitch-Applied"].startswith("recase;version=1;")
        assert "scorecard=:" in answer.headers["Unhitch-Receipt"]
        assert answer.headers["Unhitch-Evidence"].startswith("passed;scorecard=:")
    async with proxied() as client:
        again = await ask(client, answer.headers["Unhitch-Applied"])
    assert again.headers["Unhitch-Applied"] == answer.headers["Unhitch-Applied"]


async def test_auto_and_pool_work_where_no_evidence_is_required(proxied: Proxied, tmp_path: Path) -> None:
    pool(model=SERVED).write(tmp_path / "p.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False) as client:
        assert "pool=:" in (await ask(client, "pool;name=vetted")).headers["Unhitch-Receipt"]
        answer = await ask(client, "auto")
    assert error_of(answer)["code"] == "mitigation_not_validated"


async def test_a_session_keeps_its_variant_of_a_pool(proxied: Proxied, tmp_path: Path) -> None:
    pool(model=SERVED).write(tmp_path / "p.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False) as client:

        async def drawn(session: int) -> str:
            answer = await ask(client, "pool;name=vetted", **{"Unhitch-Session": f'"{session}"'})
            return answer.headers["Unhitch-Applied"]

        first = [await drawn(session) for session in range(12)]
        assert first == [await drawn(session) for session in range(12)]
    assert len(set(first)) > 1


async def test_a_file_of_no_use_is_said_once_in_the_log(
    proxied: Proxied, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="mark") as client:
        caplog.set_level(logging.WARNING, "unhitch_server")
        (tmp_path / "x.json").write_text("{}")
        for _ in range(3):
            await ask(client)
    said = f"evidence in {tmp_path} is of no use: x.json is no scorecard or pool of unhitch's."
    assert caplog.messages.count(said) == 1


async def test_at_start_the_log_warns_of_a_default_that_is_not_validated(
    proxied: Proxied, caplog: pytest.LogCaptureFixture
) -> None:
    async with proxied(bundled_evidence=False, require_validated="refuse", mitigation="perturb"):
        caplog.set_level(logging.WARNING, "unhitch_server")
        await _until(lambda: "the default mitigation of mini-base is not validated" in caplog.text)


async def _until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.02)


async def test_a_dry_run_is_shown_whatever_is_required_and_says_what_is_known(proxied: Proxied, tmp_path: Path) -> None:
    pool(model=SERVED).write(tmp_path / "p.json")
    async with proxied(evidence=[str(tmp_path)], bundled_evidence=False, require_validated="refuse") as client:
        answer = await client.post("/unhitch/v1/explain", json=HELLO, headers=PERTURB)
        drawn = await client.post(
            "/unhitch/v1/explain", json=HELLO, headers={"Unhitch-Mitigation": "pool;name=vetted;index=0"}
        )
        off = await client.post("/unhitch/v1/explain", json=HELLO)
    assert answer.json()["evidence"]["status"] == "missing"
    assert drawn.json()["applied"].startswith("perturb;version=1;")
    assert off.json()["evidence"] is None
