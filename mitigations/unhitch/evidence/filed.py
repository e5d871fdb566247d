"""Scorecards and pools as they lie in folders, made ready for use: digests taken, mitigations bound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unhitch.errors import EvidenceError, UnhitchError
from unhitch.evidence.identity import Hex
from unhitch.evidence.pool import Pool
from unhitch.evidence.scorecard import Scorecard
from unhitch.evidence.strategy import Plain, plain
from unhitch.headers import parse_mitigation
from unhitch.mitigation import Step
from unhitch.registry import Registry
from unhitch.strategies import best_of
from unhitch.strategies.off import Off
from unhitch.strategy import Expanding


@dataclass(frozen=True, slots=True)
class FiledScorecard:
    """A scorecard in a folder.

    Args:
        file: Its file.
        digest: SHA-256 of its content, 64 hexadecimal digits.
        card: What it says.
        plain: What it validated, whatever the versions.
        steps: The same, bound; None where this installation cannot make it, as of another version.
    """

    file: Path
    digest: Hex
    card: Scorecard
    plain: Plain
    steps: tuple[Step, ...] | None

    @property
    def names(self) -> tuple[str, ...]:
        """The strategies that it validated, in order."""
        return tuple(name for name, _ in self.plain)

    @property
    def made_at(self) -> str:
        """When it was made, in ISO 8601; empty where it does not say."""
        return self.card.made.get("at", "")


@dataclass(frozen=True, slots=True)
class FiledPool:
    """A pool in a folder.

    Args:
        file: Its file.
        content: SHA-256 of its variants, 64 hexadecimal digits.
        pool: What it says.
        variants: The steps of each variant.
    """

    file: Path
    content: Hex
    pool: Pool
    variants: tuple[tuple[Step, ...], ...]

    @property
    def made_at(self) -> str:
        """When it was made, in ISO 8601; empty where it does not say."""
        return self.pool.made.get("at", "")


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A JSON file, or a folder, that is of no use.

    Args:
        file: Its place.
        reason: What is wrong; begins with the file's name.
        pool: The pool's name, where it is a pool.
    """

    file: Path
    reason: str
    pool: str | None = None


def file_scorecard(file: Path, card: Scorecard, registry: Registry) -> FiledScorecard:
    """The scorecard with what it validated, bound where that can be done.

    Raises:
        HeaderError: What it validated is no value of the Unhitch-Mitigation header.
    """
    mitigation = card.strategy.mitigation
    try:
        steps = registry.bind(parse_mitigation(mitigation))
    except UnhitchError:
        steps = None
    return FiledScorecard(file, card.digest, card, plain(mitigation), steps)


def file_pool(file: Path, pool: Pool, registry: Registry) -> FiledPool:
    """The pool with its variants bound.

    Raises:
        EvidenceError: A variant edits nothing, stands for others in turn, or cannot be made by this installation.
    """
    return FiledPool(
        file,
        pool.content,
        pool,
        tuple(_bound(file, index, variant.mitigation, registry) for index, variant in enumerate(pool.variants)),
    )


def _bound(file: Path, index: int, mitigation: str, registry: Registry) -> tuple[Step, ...]:
    where = f"{file.name}: variant {index} (`{mitigation[:200]}`)"
    try:
        steps = registry.bind(parse_mitigation(mitigation))
    except UnhitchError as error:
        raise EvidenceError(f"{where} cannot be made: {error.message}") from error
    if best_of.leads(steps) or any(isinstance(step.strategy, Off | Expanding) for step in steps):
        raise EvidenceError(f"{where} is no edit: a pool holds neither `off` nor `pool`, `auto` and `best-of`.")
    return steps
