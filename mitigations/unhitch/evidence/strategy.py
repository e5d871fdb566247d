"""The identity of what a request asks for: its strategies with all their parameters, in canonical form."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from unhitch.evidence.identity import JudgeIdentity, StrategyIdentity
from unhitch.evidence.pool import Pool
from unhitch.headers import Applied, Value, format_applied, parse_mitigation
from unhitch.mitigation import OFF, Step, explicit
from unhitch.strategies import best_of
from unhitch.strategies.off import Off
from unhitch.strategies.pool import PoolParameters

Plain = tuple[tuple[str, tuple[tuple[str, Value], ...]], ...]
"""Names with sorted parameters, versions left out."""


def identify(
    steps: Sequence[Step], pools: Iterable[Pool] = (), scorer: JudgeIdentity | None = None
) -> StrategyIdentity:
    """What identifies the steps of a request.

    Args:
        steps: As bound; see `Registry.bind`.
        pools: Those for the served model, each name once; one of them gives the digest of a step `pool`.
        scorer: The proxy's, if it has one; it counts where `best-of` has it choose.

    Returns:
        Every parameter that has a value is in it, defaults and versions included, but a seed only where one was asked
        for. The pool's digest is None where no step is a pool, or there is none of that name.
    """
    names = [step.parameters.name for step in steps if isinstance(step.parameters, PoolParameters)]
    content = next((pool.content for pool in pools if pool.name in names), None)
    return StrategyIdentity(
        mitigation=format_applied([_entry(step) for step in steps]),
        pool=content,
        scorer=scorer if best_of.leads(steps) else None,
    )


def plain(mitigation: str) -> Plain:
    """What a mitigation asks for, whatever the versions of its strategies.

    Args:
        mitigation: A value of the Unhitch-Mitigation header.

    Raises:
        HeaderError: It is none.
    """
    return tuple(
        (asked.name, tuple(sorted((key, value) for key, value in asked.parameters.items() if key != "version")))
        for asked in parse_mitigation(mitigation)
    )


def versions(mitigation: str) -> str:
    """Names and versions of the strategies of a mitigation, for a sentence: "perturb 1, recase 2"."""
    return ", ".join(
        f"{asked.name} {asked.parameters.get('version', '')}".strip() for asked in parse_mitigation(mitigation)
    )


def _entry(step: Step) -> Applied:
    strategy, parameters = step.strategy, step.parameters
    if isinstance(strategy, Off):
        return OFF
    flags = dict.fromkeys(strategy.flags(parameters), True)
    return Applied(strategy.name, explicit(parameters) | flags, version=strategy.version)
