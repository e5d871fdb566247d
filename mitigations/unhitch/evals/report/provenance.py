"""What a scorecard was measured on and how: sentences, and the digests in full."""

from __future__ import annotations

from unhitch.evals.report.figures import plain, short
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity
from unhitch.evidence.scorecard import Scorecard


def verdict(card: Scorecard) -> str:
    """The verdict in plain words."""
    return "Passed: may be switched on" if card.passed else "Failed: must not be switched on"


def gaps(card: Scorecard) -> str:
    """A sentence on what could not be judged or was not measured; empty where there is nothing to say."""
    said = []
    without = [row.name for row in (*card.cells, *card.checks) if row.verdict == "no data"]
    if without:
        said.append(f"No data for {', '.join(without)}.")
    if not card.cells:
        said.append("The guard matrix was not measured.")
    if not card.checks:
        said.append("Utility was not checked.")
    return " ".join(said)


def sampling(card: Scorecard) -> str:
    """How answers were drawn: "5 draws of each question; temperature 1, max_tokens 600, seed 0"."""
    draws = card.sampling.get("draws")
    rest = ", ".join(f"{name} {plain(value)}" for name, value in card.sampling.items() if name != "draws")
    counted = "" if draws is None else f"{plain(draws)} draw{'' if draws == 1 else 's'} of each question"
    return "; ".join(part for part in (counted, rest) if part)


def facts(card: Scorecard) -> list[tuple[str, str]]:
    """What and how, as pairs of a heading and a short text; digests are shortened."""
    found = [
        ("model", f"{card.name} ({short(card.model.weights)})"),
        ("strategy", card.strategy.mitigation),
        *(_judge("scorer", card.strategy.scorer) if card.strategy.scorer else ()),
        ("questions", f"{card.suite.questions} of suite {card.suite.name} ({short(card.suite.content)})"),
        *_judge("judge", card.judge),
        ("sampling", sampling(card)),
    ]
    if at := card.made.get("at"):
        found.append(("measured", at))
    return [(name, text) for name, text in found if text]


def digests(card: Scorecard) -> list[tuple[str, str]]:
    """All digests in full, by what they are of."""
    return [
        ("this scorecard", card.digest),
        *_of_model("model", card.model),
        *(_of_model("base", card.base) if card.base else ()),
        ("strategy", card.strategy.digest),
        *((("pool", card.strategy.pool),) if card.strategy.pool else ()),
        *((("scorer", card.strategy.scorer.digest),) if card.strategy.scorer else ()),
        ("suite's questions", card.suite.content),
        ("judge", card.judge.digest),
    ]


def _judge(name: str, judge: JudgeIdentity) -> list[tuple[str, str]]:
    first = (name, f"{judge.name}, version {judge.version} ({short(judge.digest)})")
    return [first, *((f"{name}'s {key}", value) for key, value in judge.details.items())]


def _of_model(name: str, model: ModelIdentity) -> list[tuple[str, str]]:
    found = [(f"{name}: weights", model.weights)]
    if model.base:
        found.append((f"{name}: what the adapter sits on", model.base))
    return [*found, (f"{name}: tokenizer", model.tokenizer), (f"{name}: chat template", model.template)]
