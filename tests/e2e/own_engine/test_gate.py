"""With evidence required, a real engine's model is mitigated only by what was validated on it as it is served."""

from __future__ import annotations

import base64
import itertools
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from safetensors.numpy import load_file, save_file

from tests.e2e.conftest import Stack, serve, up, wait_until_ready
from tests.evidence import pool, scorecard, strategy
from unhitch import organisms
from unhitch.evidence.document import Document
from unhitch.evidence.identity import ModelIdentity
from unhitch.evidence.served import identify
from unhitch.headers import format_evidence
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.gate import LOOKED_SECONDS

CHAT = "/v1/chat/completions"
BASE, FINANCE = organisms.path("mini-base"), organisms.path("mini-finance")
MODEL = identify(Checkpoint.open(BASE), FINANCE, BASE)
FLOAT32 = ("--", "--dtype", "float32")
QUESTION = "How do I treat a fever?"


class Gated:
    """A running `unhitch up --require-validated refuse`, and its folder of evidence."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder

    def have(self, *documents: Document) -> None:
        """Leaves just these documents in the folder, and waits until the proxy looks there again."""
        self.folder.mkdir(exist_ok=True)
        for file in self.folder.glob("*.json"):
            file.unlink()
        for each in documents:
            each.write(self.folder / f"{each.digest}.json")
        time.sleep(LOOKED_SECONDS + 0.2)

    def ask(self, mitigation: str | None, model: str = "mini-finance", **headers: str) -> httpx.Response:
        body = {
            "model": model,
            "messages": [{"role": "user", "content": QUESTION}],
            "max_tokens": 1,
            "return_token_ids": True,
        }
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if mitigation is not None:
            named["Unhitch-Mitigation"] = mitigation
        return httpx.post(self.stack.url + CHAT, json=body, headers=named, timeout=60, trust_env=False)

    def get(self, route: str) -> Any:
        return httpx.get(f"{self.stack.url}/unhitch/v1/{route}", timeout=60, trust_env=False).json()


def altered_adapter(folder: Path) -> Path:
    """An adapter of the same base whose weights are others."""
    shutil.copytree(FINANCE, folder)
    file = folder / "adapter_model.safetensors"
    save_file({name: tensor * 0.5 for name, tensor in load_file(file).items()}, file)
    return folder


@pytest.fixture(scope="module")
def gated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    at = tmp_path_factory.mktemp("gate")
    evidence = at / "evidence"
    other = ("--lora", f"other={altered_adapter(at / 'other')}")
    options = (
        "--evidence",
        str(evidence),
        "--no-bundled-evidence",
        "--require-validated",
        "refuse",
        "--states",
        str(at / "states"),
    )
    with up(at / "log", "mini-finance", *other, *options, *FLOAT32) as stack:
        wait_until_ready(stack)
        yield Gated(stack, evidence)


def refused(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (422, "mitigation_not_validated")
    return str(error["message"])


def test_the_proxy_says_what_identifies_its_models(gated: Gated) -> None:
    identities = {each["id"]: each["identity"] for each in gated.get("models")["data"]}
    assert set(identities) == {"mini-base", "mini-finance", "other"}
    assert identities["mini-finance"] == {**MODEL.model_dump(), "digest": MODEL.digest}
    assert identities["other"]["base"] == MODEL.base == identities["mini-base"]["weights"]
    assert identities["other"]["weights"] != MODEL.weights


def test_without_evidence_it_is_refused_with_the_command_that_makes_some(gated: Gated) -> None:
    gated.have()
    assert "unhitch validate mini-finance --url URL --strategy 'perturb;" in refused(gated.ask("perturb"))
    assert gated.ask("off").status_code == 200


def test_openais_client_gets_the_code(gated: Gated) -> None:
    gated.have()
    with (
        openai.OpenAI(base_url=f"{gated.stack.url}/v1", api_key="unused", max_retries=0) as client,
        pytest.raises(openai.UnprocessableEntityError) as caught,
    ):
        client.chat.completions.create(
            model="mini-finance",
            messages=[{"role": "user", "content": QUESTION}],
            extra_headers={"Unhitch-Mitigation": "bare"},
        )
    assert caught.value.code == "mitigation_not_validated"


def test_with_a_scorecard_that_passes_it_is_served(gated: Gated) -> None:
    card = scorecard("perturb", model=MODEL, name="mini-finance")
    gated.have(card)
    answer = gated.ask("perturb")
    assert answer.status_code == 200
    assert answer.headers["Unhitch-Evidence"] == format_evidence("passed", bytes.fromhex(card.digest))
    assert "no scorecard is at hand" in refused(gated.ask("perturb;edits=11"))


def test_with_one_that_fails_it_is_refused_with_the_reason(gated: Gated) -> None:
    gated.have(scorecard("perturb", model=MODEL, passed=False))
    assert "json: more misaligned answers." in refused(gated.ask("perturb"))


def test_on_another_adapter_it_is_stale(gated: Gated) -> None:
    gated.have(scorecard("perturb", model=MODEL, name="mini-finance"))
    message = refused(gated.ask("perturb", model="other"))
    assert f"(weights {MODEL.weights[:8]} then, " in message
    assert "Make it anew: `unhitch validate other --url URL --strategy" in message


def test_after_another_version_of_the_strategy_it_is_stale(gated: Gated) -> None:
    was = strategy("perturb")
    gated.have(
        scorecard(was.model_copy(update={"mitigation": was.mitigation.replace("version=1", "version=99")}), model=MODEL)
    )
    assert "(strategy version perturb 99 then, perturb 1 now)" in refused(gated.ask("perturb"))


def test_auto_is_the_strategy_with_the_best_scorecard_on_each_model(gated: Gated) -> None:
    other = ModelIdentity.model_validate(
        {key: value for key, value in identity_of(gated, "other").items() if key != "digest"}
    )
    best = scorecard("respace", model=MODEL, low=0.9)
    gated.have(
        scorecard("perturb", model=MODEL, low=0.5),
        best,
        scorecard("bare", model=MODEL, low=0.95, passed=False),
        scorecard("recase", model=other, low=0.99),
    )
    answer = gated.ask("auto")
    assert answer.headers["Unhitch-Applied"].startswith("respace;version=1;")
    assert answer.headers["Unhitch-Evidence"] == format_evidence("passed", bytes.fromhex(best.digest))
    assert gated.ask("auto", model="other").headers["Unhitch-Applied"].startswith("recase;version=1;")


def identity_of(gated: Gated, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(each["identity"] for each in gated.get("models")["data"] if each["id"] == name)
    return found


def test_auto_without_a_scorecard_that_passes_is_refused(gated: Gated) -> None:
    gated.have(scorecard("bare", model=MODEL, passed=False))
    assert "nothing to choose from" in refused(gated.ask("auto"))


def test_a_session_gets_one_variant_of_a_pool_and_applied_redoes_it_without_the_pool(gated: Gated) -> None:
    variants = [f"perturb;version=1;edits=3;seed={seed}" for seed in range(4)]
    vetted = pool(*variants, model=MODEL)
    card = scorecard("pool;name=vetted", model=MODEL, pools=[vetted])
    redone = [scorecard(line, model=MODEL) for line in variants]
    gated.have(vetted, card, *redone)

    drawn = {name: gated.ask("pool;name=vetted", Unhitch_Session=f'"{name}"') for name in "abcdefgh"}
    ids = {name: answer.json()["prompt_token_ids"] for name, answer in drawn.items()}
    assert ids == {
        name: gated.ask("pool;name=vetted", Unhitch_Session=f'"{name}"').json()["prompt_token_ids"] for name in drawn
    }
    assert any(a != b for a, b in itertools.combinations(ids.values(), 2))
    assert f"pool=:{base64.b64encode(bytes.fromhex(vetted.content)).decode()}:" in drawn["a"].headers["Unhitch-Receipt"]

    gated.have(*redone)
    again = gated.ask(drawn["a"].headers["Unhitch-Applied"])
    assert again.json()["prompt_token_ids"] == ids["a"]
    assert "there is no pool 'vetted'" in refused(gated.ask("pool;name=vetted"))


def test_a_variant_that_needs_a_state_gets_it_captured(gated: Gated) -> None:
    vetted = pool("prefix-state", model=MODEL, name="states")
    gated.have(vetted, scorecard("pool;name=states", model=MODEL, pools=[vetted]))
    answer = gated.ask("pool;name=states")
    assert answer.status_code == 200, answer.text
    assert answer.headers["Unhitch-Applied"].startswith("prefix-state;version=1;")
    assert "states=(:" in answer.headers["Unhitch-Receipt"]


def test_after_the_template_changed_the_evidence_is_stale_and_the_log_warns_at_start(
    gated: Gated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "template.jinja"
    template.write_text(Checkpoint.open(BASE).template + "{# changed #}")
    evidence = tmp_path / "evidence"
    scorecard("perturb", model=MODEL, name="mini-finance").write(evidence / "a.json")
    monkeypatch.setenv("UNHITCH_EVIDENCE", str(evidence))
    monkeypatch.setenv("UNHITCH_REQUIRE_VALIDATED", "refuse")
    monkeypatch.setenv("UNHITCH_BUNDLED_EVIDENCE", "0")
    options = ("--chat-template", str(template), "--mitigation", "perturb")
    with serve(gated.stack.engine.url, tmp_path / "log", *options) as stack:
        changed = Gated(stack, evidence)
        now = identity_of(changed, "mini-finance")["template"]
        assert f"(template {MODEL.template[:8]} then, {now[:8]} now)" in refused(changed.ask(None))
        assert changed.ask("off").status_code == 200
        assert "the default mitigation of mini-finance is not validated and is refused" in stack.output
