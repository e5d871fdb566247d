"""`/unhitch/v1/scorecards`: the evidence that the proxy has, and one scorecard of it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request

from unhitch.errors import RouteNotFound
from unhitch.evidence.deciding import Verdict, verdicts
from unhitch.evidence.filed import FiledScorecard
from unhitch_server.control.refusals import CONTROL_KEY, refusals
from unhitch_server.gate import Gate

router = APIRouter()


@router.get("/unhitch/v1/scorecards", responses=refusals(*CONTROL_KEY))
async def scorecards(request: Request) -> dict[str, Any]:
    """Every scorecard in brief, the latest first; and the files that are of no use, with what is wrong.

    `verdict` is "passes" or "fails", or "withdrawn" for a pass and "replaced" for a failure where another scorecard of
    the same strategy and model decides.
    """
    gate: Gate = request.app.state.gate
    library = await gate.library()
    cards = library.scorecards
    return {
        "object": "list",
        "data": [_brief(each, verdict) for each, verdict in zip(cards, verdicts(cards), strict=True)],
        "unreadable": [{"file": each.file.name, "reason": each.reason} for each in library.unreadable],
    }


@router.get("/unhitch/v1/scorecards/{digest}", responses=refusals(*CONTROL_KEY, 404))
async def scorecard(
    request: Request, digest: Annotated[str, Path(description="Its digest, or the first 8 digits of it or more.")]
) -> dict[str, Any]:
    """One scorecard as it stands in its file."""
    gate: Gate = request.app.state.gate
    library = await gate.library()
    found = [each for each in library.scorecards if len(digest) >= 8 and each.digest.startswith(digest)]
    if len(found) != 1:
        count = "no scorecard" if not found else f"more than one scorecard ({len(found)})"
        raise RouteNotFound(f"there is {count} {digest[:64]!r}; /unhitch/v1/scorecards lists those there are")
    return found[0].card.to_json()


def _brief(each: FiledScorecard, verdict: Verdict) -> dict[str, Any]:
    card = each.card
    return {
        "digest": each.digest,
        "object": "unhitch.scorecard",
        "file": each.file.name,
        "name": card.name,
        "model": card.model.model_dump(mode="json"),
        "strategy": card.strategy.model_dump(mode="json"),
        "suite": card.suite.model_dump(mode="json"),
        "judge": card.judge.model_dump(mode="json"),
        "passed": card.passed,
        "verdict": verdict,
        "reasons": list(card.reasons),
        "good": card.arms[1].good.model_dump(mode="json"),
        "unmitigated_good": card.arms[0].good.model_dump(mode="json"),
        "cost": card.arms[1].cost,
        "made_at": each.made_at,
    }
