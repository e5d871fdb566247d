"""`best-of` over what the operator's evidence offers, and where evidence is required of it."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.evidence import VARIANTS, pool, scorecard
from tests.server.best_of.asking import ASK, CHAT, draws, error_of, receipt, sent_ids
from tests.server.conftest import Proxied
from tests.server.fake_engine import MODEL, FakeEngine
from unhitch import organisms
from unhitch.evals.judges.exact import ExactJudge
from unhitch.evidence.identity import JudgeIdentity
from unhitch.evidence.served import identify
from unhitch.rendering.checkpoint import Checkpoint

FILES = organisms.path(MODEL)
SERVED = identify(Checkpoint.open(FILES), FILES)
LINE = "best-of;n=4, perturb"


@pytest.fixture
def evidence(tmp_path: Path) -> list[str]:
    """A folder with a pool for the served model, and a passing scorecard of the best of four."""
    pool(model=SERVED).write(tmp_path / "pool.json")
    scorecard(LINE, model=SERVED, name=MODEL, scorer=ExactJudge().identity()).write(tmp_path / "card.json")
    return [str(tmp_path)]


async def ask(client: httpx.AsyncClient, line: str) -> httpx.Response:
    return await client.post(CHAT, json=ASK, headers={"Unhitch-Mitigation": line})


async def test_it_chooses_between_the_variants_of_a_pool(
    proxied: Proxied, engine: FakeEngine, evidence: list[str]
) -> None:
    async with proxied(scorer="exact", evidence=evidence) as client:
        variants = await draws(client, *VARIANTS)
        count = len(engine.asked(CHAT))
        answer = await ask(client, "best-of;n=16, pool;name=vetted;seed=1")
        asked = [sent_ids(request) for request in engine.asked(CHAT)[count:]]
        assert sorted(asked) == sorted(variants), "sixteen draws of three variants are three"
        assert receipt(answer)["tried"] == "3"
        assert "pool" in receipt(answer)
        assert "pool" not in answer.headers["Unhitch-Applied"]


async def test_one_variant_of_a_pool_leaves_nothing_to_choose(proxied: Proxied, evidence: list[str]) -> None:
    async with proxied(scorer="exact", evidence=evidence) as client:
        answer = await ask(client, "best-of, pool;name=vetted;index=1")
        assert answer.status_code == 422
        assert "same edit" in error_of(answer)["message"]


async def test_where_evidence_is_required_it_is_that_of_the_choice_and_not_of_one_draw(
    proxied: Proxied, evidence: list[str]
) -> None:
    async with proxied(scorer="exact", evidence=evidence, require_validated="refuse") as client:
        answer = await ask(client, LINE)
        assert answer.headers["Unhitch-Evidence"].startswith("passed;scorecard=:")
        for other in ("perturb", "best-of;n=5, perturb", "best-of;n=4, recase"):
            assert error_of(await ask(client, other))["code"] == "mitigation_not_validated"


@pytest.mark.parametrize("scorer", [None, ExactJudge().identity().model_copy(update={"version": 99})])
async def test_evidence_of_a_choice_by_another_scorer_or_by_one_that_is_not_named_is_stale(
    proxied: Proxied, tmp_path: Path, scorer: JudgeIdentity | None
) -> None:
    scorecard(LINE, model=SERVED, name=MODEL, scorer=scorer).write(tmp_path / "card.json")
    async with proxied(scorer="exact", evidence=[str(tmp_path)], require_validated="refuse") as client:
        answer = await ask(client, LINE)
        listed = {each["name"]: each for each in (await client.get("/unhitch/v1/strategies")).json()["data"]}
    assert error_of(answer)["code"] == "mitigation_not_validated"
    assert f"(scorer {'unnamed' if scorer is None else 'exact 99'} then, exact 1 now)" in error_of(answer)["message"]
    assert [each["changed"] for each in listed["best-of"]["evidence"][MODEL]] == [["scorer"]]


async def test_models_are_listed_with_the_scorer(proxied: Proxied) -> None:
    async with proxied(scorer="exact") as client:
        (with_scorer,) = (await client.get("/unhitch/v1/models")).json()["data"]
    async with proxied() as client:
        (without,) = (await client.get("/unhitch/v1/models")).json()["data"]
    assert (with_scorer["scorer"], without["scorer"]) == (ExactJudge().identity().model_dump(mode="json"), None)
