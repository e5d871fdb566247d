"""The evidence as it is for one served model: the pools for it, and what its scorecards say of a strategy."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable, NotValidated, UnhitchError
from unhitch.evidence import standing
from unhitch.evidence.deciding import by_subject
from unhitch.evidence.filed import FiledPool, FiledScorecard, Unreadable
from unhitch.evidence.identity import Hex, JudgeIdentity, ModelIdentity, StrategyIdentity
from unhitch.evidence.standing import Evidence
from unhitch.evidence.strategy import Plain, identify, plain
from unhitch.headers import Asked, parse_mitigation
from unhitch.mitigation import Step, seeded
from unhitch.registry import Registry
from unhitch.strategies import best_of
from unhitch.strategies.auto import Auto
from unhitch.strategies.off import Off
from unhitch.strategies.pool import PoolParameters


@dataclass(frozen=True, eq=False)
class View:
    """What strategies and the gate look into. Made by `Library.view`.

    Args:
        name: The model's served name.
        identity: What it is; None where that is not known.
        unidentified: Why it is not known.
        scorecards: All there are, for whatever model, the latest first.
        all_pools: The same of pools.
        unreadable: Files that are of no use.
        registry: Binds mitigations.
        scorer: The proxy's for `best-of`, if it has one.
    """

    name: str
    identity: ModelIdentity | None
    unidentified: str
    scorecards: tuple[FiledScorecard, ...]
    all_pools: tuple[FiledPool, ...]
    unreadable: tuple[Unreadable, ...]
    registry: Registry
    scorer: JudgeIdentity | None = None

    @cached_property
    def pools(self) -> Mapping[str, FiledPool]:
        """The pools that were vetted on this model, by name; of several the latest."""
        fitting = [each for each in reversed(self.all_pools) if each.pool.model == self.identity]
        return {each.pool.name: each for each in fitting}

    def pool(self, name: str) -> FiledPool:
        """The pool of that name for this model.

        Raises:
            MitigationUnavailable: There is none; the message says why, and names those there are.
        """
        if name in self.pools:
            return self.pools[name]
        raise MitigationUnavailable(self._no_pool(name), param="name")

    def choice(self) -> tuple[tuple[Step, ...], Hex]:
        """What `auto` stands for, and the digest of the scorecard that says so.

        Raises:
            NotValidated: No strategy has a passing scorecard for the model as it is served.
        """
        best = self.best
        if best is None or best.steps is None:
            raise NotValidated(self._nothing_validated(), param=Auto.name)
        return best.steps, best.digest

    @cached_property
    def best(self) -> FiledScorecard | None:
        """Of the scorecards that hold and whose pass stands, the one with the highest lower bound of good answers.

        Equal ones: the one that costs less, then the first by name. Strategies that generate several answers for one
        are left out.
        """
        candidates = (each.scorecard for each in self._holding.values())
        passing = [each for each in candidates if each is not None and each.card.passed and self._can_stand_in(each)]
        return min(passing, key=_rank, default=None)

    def evidence(self, steps: Sequence[Step]) -> Evidence:
        """What is known of what a request asks for.

        Args:
            steps: As bound; `auto` counts as what it stands for.
        """
        return self._evidence(self._resolved(steps))

    def all_evidence(self) -> tuple[Evidence, ...]:
        """What is known of each strategy, with its parameters, that a scorecard for this model was ever made for."""
        found: dict[StrategyIdentity, Evidence] = {}
        for each in self.scorecards:
            steps = self._now(each)
            if self.identity is None or steps is None:
                continue
            strategy = self._identify(steps)
            if strategy not in found and standing.related(each, self.name, self.identity):
                found[strategy] = self._evidence(steps)
        return tuple(found.values())

    def _evidence(self, steps: Sequence[Step]) -> Evidence:
        strategy = self._identify(steps)
        if self.identity is None:
            return Evidence("missing", self._unknown())
        if strategy in self._holding:
            return self._holding[strategy]
        compared = [
            (each, standing.changes(each, strategy, self.identity))
            for each in self._by_plain.get(plain(strategy.mitigation), ())
            if standing.related(each, self.name, self.identity)
        ]
        if compared:
            nearest = min(compared, key=lambda pair: (len(pair[1]), not pair[0].card.passed))
            return standing.stale(strategy, self.name, *nearest)
        if any(isinstance(step.strategy, Auto) for step in steps):
            return Evidence("missing", self._nothing_validated())
        pools = [step.parameters.name for step in steps if isinstance(step.parameters, PoolParameters)]
        if lacking := [name for name in pools if name not in self.pools]:
            return Evidence("missing", self._no_pool(lacking[0]))
        return standing.missing(strategy, self.name)

    @cached_property
    def _exact(self) -> tuple[FiledScorecard, ...]:
        """The scorecards that were made for the model as it is."""
        return tuple(each for each in self.scorecards if each.card.model == self.identity)

    @cached_property
    def _holding(self) -> Mapping[StrategyIdentity, Evidence]:
        """What these say of each of their strategies."""
        subjects = by_subject(self._exact).items()
        return {strategy: standing.holding(strategy, self.name, cards) for (_, strategy), cards in subjects}

    @cached_property
    def _by_plain(self) -> Mapping[Plain, list[FiledScorecard]]:
        """All scorecards by what they validated, whatever the versions and the model."""
        rows: defaultdict[Plain, list[FiledScorecard]] = defaultdict(list)
        for each in self.scorecards:
            rows[each.plain].append(each)
        return dict(rows)

    def _identify(self, steps: Sequence[Step]) -> StrategyIdentity:
        return identify(steps, [each.pool for each in self.pools.values()], self.scorer)

    def _resolved(self, steps: Sequence[Step]) -> tuple[Step, ...]:
        if self.best is None or self.best.steps is None:
            return tuple(steps)
        resolved: list[Step] = []
        for step in steps:
            if not isinstance(step.strategy, Auto):
                resolved.append(step)
                continue
            seed = getattr(step.parameters, "seed", None)
            resolved += [each if seed is None else seeded(each, Draw(seed)) for each in self.best.steps]
        return tuple(resolved)

    def _can_stand_in(self, each: FiledScorecard) -> bool:
        """Whether `auto` can stand for what a scorecard validated, as it is now."""
        steps = each.steps
        if steps is None or best_of.leads(steps) or any(isinstance(step.strategy, Off | Auto) for step in steps):
            return False
        return self._identify(steps) == each.card.strategy

    def _now(self, each: FiledScorecard) -> tuple[Step, ...] | None:
        """What a scorecard validated, as this installation makes it; None where it does not."""
        if each.steps is not None:
            return each.steps
        asked = [
            Asked(entry.name, {key: value for key, value in entry.parameters.items() if key != "version"})
            for entry in parse_mitigation(each.card.strategy.mitigation)
        ]
        try:
            return self.registry.bind(asked)
        except UnhitchError:
            return None

    def _no_pool(self, name: str) -> str:
        there = ", ".join(sorted(self.pools)) or "none"
        return f"{self._why_no_pool(name)} Pools for {self.name!r}: {there}."

    def _why_no_pool(self, name: str) -> str:
        if self.identity is None:
            return self._unknown()
        others = [each for each in self.all_pools if each.pool.name == name]
        if others:
            then, now = others[0].pool.model, self.identity
            parts = [part for part in type(now).model_fields if getattr(then, part) != getattr(now, part)]
            listed = "; ".join(
                f"{part} {_short(getattr(then, part))} there, {_short(getattr(now, part))} here" for part in parts
            )
            return f"the pool {name!r} was vetted on another model than {self.name!r} ({listed})."
        broken = next((each for each in self.unreadable if each.pool == name), None)
        return f"there is no pool {name!r}." if broken is None else f"the pool {name!r} is of no use: {broken.reason}"

    def _nothing_validated(self) -> str:
        if self.identity is None:
            return self._unknown()
        return (
            f"`auto` has nothing to choose from: no strategy that it could stand for has a passing scorecard for "
            f"{self.name!r} as it is served ({len(self._exact)} of the {len(self.scorecards)} scorecards at hand are "
            f"for it). Validate a strategy: {standing.command(self.name, StrategyIdentity(mitigation='MITIGATION'))}."
        )

    def _unknown(self) -> str:
        reason = self.unidentified or "its files were not read."
        return f"no evidence can be matched to {self.name!r}, since it cannot be identified: {reason}"


def _rank(each: FiledScorecard) -> tuple[float, float, str]:
    arm = each.card.arms[1]
    low = arm.good.low if arm.good.low is not None else -1.0
    return (-low, arm.cost, each.card.strategy.mitigation)


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:8]
