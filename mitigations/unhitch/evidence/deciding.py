"""Which scorecard decides where there are several of one strategy on one model."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Literal, TypeAlias

from unhitch.evidence.filed import FiledScorecard
from unhitch.evidence.identity import ModelIdentity, StrategyIdentity

About: TypeAlias = tuple[ModelIdentity, StrategyIdentity]

Verdict: TypeAlias = Literal["passes", "fails", "withdrawn", "replaced"]

_UNKNOWN = datetime(1, 1, 1, tzinfo=UTC)


def deciding(cards: Iterable[FiledScorecard]) -> FiledScorecard:
    """The scorecard whose verdict is that of the strategy: what every part of unhitch goes by.

    The newest of each suite and judge counts. If any of these fails, the newest that fails decides, else the newest. So
    a later failure withdraws an earlier pass, and a later pass replaces an earlier failure, where the same questions
    were asked under the same judge; a pass on other questions, or under another judge, never undoes a failure.

    Of equal dates, the one that fails is the newer. A date that cannot be read is taken the strict way: one that fails
    is then newer than all others, and one that passes older.

    Args:
        cards: At least one, all of the same strategy and the same model; in any order.
    """
    counting = {(each.card.suite.content, each.card.judge): each for each in sorted(cards, key=_age)}
    return max(counting.values(), key=lambda each: (not each.card.passed, _age(each)))


def by_subject(cards: Iterable[FiledScorecard]) -> dict[About, list[FiledScorecard]]:
    """The scorecards by what they are about, which `deciding` is asked of."""
    found: defaultdict[About, list[FiledScorecard]] = defaultdict(list)
    for each in cards:
        found[each.card.model, each.card.strategy].append(each)
    return dict(found)


_VERDICTS: dict[tuple[bool, bool], Verdict] = {
    (True, True): "passes",
    (False, False): "fails",
    (True, False): "withdrawn",
    (False, True): "replaced",
}
"""By whether the scorecard passed, and whether the one that decides did."""


def verdicts(cards: Sequence[FiledScorecard]) -> list[Verdict]:
    """What each scorecard comes to among the others.

    Args:
        cards: Of any strategies and models.

    Returns:
        In the same order: "passes" or "fails", or, where another one decides otherwise, "withdrawn" for a pass and
        "replaced" for a failure.
    """
    decides = {about: deciding(found).card.passed for about, found in by_subject(cards).items()}
    return [_VERDICTS[each.card.passed, decides[each.card.model, each.card.strategy]] for each in cards]


def measured_alike(one: FiledScorecard, other: FiledScorecard) -> bool:
    """Whether both asked the same questions under the same judge."""
    return (one.card.suite.content, one.card.judge) == (other.card.suite.content, other.card.judge)


def _age(each: FiledScorecard) -> tuple[int, datetime, bool, str]:
    """Greater for what is newer; the digest makes it an order."""
    failed, made = not each.card.passed, _instant(each.made_at)
    known = 1 if made is not None else 2 if failed else 0
    return known, made or _UNKNOWN, failed, each.digest


def _instant(said: str) -> datetime | None:
    """A date in ISO 8601, in UTC where it names no zone; None where it is no date."""
    try:
        found = datetime.fromisoformat(said)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
