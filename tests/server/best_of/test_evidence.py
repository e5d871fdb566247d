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
from unhitch.evidence.served import identify
from unhitch.rendering.checkpoint import Checkpoint

FILES = organisms.path(MODEL)
SERVED = identify(Checkpoint.open(FILES), FILES)
LINE = "best-of;n=4, perturb"


@pytest.fixture
def evidence(tmp_path: Path) -> list[str]:
    """A folder with a pool for the served model, and a passing scorecard of the best of four."""
    pool(model=SERVED).write(tmp_path / "pool.json")
    scorecard(LINE, model=SERVED, name=MODEL).write(tmp_path / "card.json")
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
