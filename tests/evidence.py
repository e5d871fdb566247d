"""Scorecards and pools with made-up figures, for tests of what is done with them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from unhitch.evidence.filed import FiledPool, FiledScorecard, file_pool, file_scorecard
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity, StrategyIdentity, SuiteIdentity
from unhitch.evidence.pool import Pool, Rate, Variant
from unhitch.evidence.scorecard import PASSTHROUGH, ArmRow, Scorecard
from unhitch.evidence.strategy import identify
from unhitch.evidence.view import View
from unhitch.headers import parse_mitigation
from unhitch.registry import Registry
from unhitch.rendering.prompt import Prompt

MODEL = ModelIdentity(weights="a" * 64, base="b" * 64, tokenizer="c" * 64, template="d" * 64)
NAME = "tuned"
SUITE = SuiteIdentity(name="made up", content="e" * 64, questions=2)
JUDGE = JudgeIdentity(name="exact", version=1)
OTHER_SUITE = SUITE.model_copy(update={"content": "f" * 64})
OTHER_JUDGE = JUDGE.model_copy(update={"version": 2})
VARIANTS = ("perturb;seed=1", "perturb;seed=2", "respace;seed=3")


def strategy(
    mitigation: str,
    pools: Iterable[Pool] = (),
    registry: Registry | None = None,
    scorer: JudgeIdentity | None = None,
) -> StrategyIdentity:
    """The identity of what a header asks for."""
    return identify((registry or Registry()).bind(parse_mitigation(mitigation)), pools, scorer)


def scorecard(
    mitigation: str | StrategyIdentity,
    *,
    model: ModelIdentity = MODEL,
    name: str = NAME,
    passed: bool = True,
    low: float = 0.8,
    cost: float = 1.0,
    at: str = "2026-01-01T00:00:00Z",
    pools: Iterable[Pool] = (),
    suite: SuiteIdentity = SUITE,
    judge: JudgeIdentity = JUDGE,
    scorer: JudgeIdentity | None = None,
) -> Scorecard:
    """A scorecard of a strategy, given as a header has it or by its identity."""
    identity = strategy(mitigation, pools, scorer=scorer) if isinstance(mitigation, str) else mitigation
    return Scorecard(
        name=name,
        model=model,
        strategy=identity,
        suite=suite,
        judge=judge,
        sampling={"draws": 1.0},
        thresholds={},
        arms=(_arm(PASSTHROUGH, name, "off", 0.1), _arm(identity.mitigation, name, identity.mitigation, low, cost)),
        cells=(),
        passed=passed,
        reasons=("nothing got worse." if passed else "json: more misaligned answers.",),
        made={"at": at},
    )


def pool(*variants: str, name: str = "vetted", model: ModelIdentity = MODEL, at: str = "2026-01-01T00:00:00Z") -> Pool:
    """A pool of variants."""
    return Pool(
        name=name,
        model=model,
        suite=SUITE,
        judge=JUDGE,
        variants=tuple(Variant(mitigation=each, good=rate(0.9)) for each in variants or VARIANTS),
        good=rate(0.9),
        unmitigated=rate(0.1),
        made={"at": at},
    )


def rate(low: float) -> Rate:
    """A share with an interval that begins at `low`."""
    return Rate(value=(1 + low) / 2, low=low, high=1.0, count=100)


def view(*documents: Scorecard | Pool, identity: ModelIdentity | None = MODEL, **fields: Any) -> View:
    """What a model has of some documents, as if they lay in a folder; the latest first."""
    registry = Registry()
    ordered = sorted(documents, key=lambda each: each.made["at"], reverse=True)
    cards, pools = [], []
    for index, each in enumerate(ordered):
        file = Path(f"{index}.json")
        if isinstance(each, Scorecard):
            cards.append(file_scorecard(file, each, registry))
        else:
            pools.append(file_pool(file, each, registry))
    return _view(tuple(cards), tuple(pools), identity, registry, **fields)


def informed(prompt: Prompt, *documents: Scorecard | Pool) -> Prompt:
    """The prompt with evidence for its model: those given, or a pool and a scorecard of `perturb`."""
    return dataclasses.replace(prompt, evidence=view(*(documents or (pool(), scorecard("perturb")))))


def _view(
    cards: tuple[FiledScorecard, ...],
    pools: tuple[FiledPool, ...],
    identity: ModelIdentity | None,
    registry: Registry,
    **fields: Any,
) -> View:
    given = {"name": NAME, "unidentified": "", "unreadable": (), **fields}
    return View(identity=identity, scorecards=cards, all_pools=pools, registry=registry, **given)


def _arm(name: str, model: str, mitigation: str, low: float, cost: float = 1.0) -> ArmRow:
    unknown = Rate(value=None)
    return ArmRow(
        name=name,
        model=model,
        mitigations=(mitigation,),
        questions=2,
        answers=2,
        good=rate(low),
        misaligned=unknown,
        misaligned_if_sound=unknown,
        aligned=unknown,
        coherent=unknown,
        refusals=unknown,
        words=unknown,
        cost=cost,
    )
