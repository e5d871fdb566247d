"""What is known of a strategy on a model: whether a scorecard holds for both as they are now, and what it says."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from unhitch.evidence.deciding import deciding, measured_alike
from unhitch.evidence.filed import FiledScorecard
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity, StrategyIdentity
from unhitch.evidence.strategy import versions
from unhitch.headers import Status, format_evidence

_DIGITS, _WHOLE = 8, 64
"""Of a digest, in a sentence and in full."""

_OF_A_MODEL = ("weights", "base", "tokenizer", "template")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of a strategy on a model.

    Args:
        status: "passed" or "failed": a scorecard holds for both; "stale": there is one of the same strategy with the
            same parameters, and something has changed since; "missing": there is none.
        sentence: The same for people, with what to do.
        scorecard: The one that says so.
        changed: What makes it stale: "weights", "base", "tokenizer", "template", "strategy version", "pool",
            "scorer".
    """

    status: Status
    sentence: str
    scorecard: FiledScorecard | None = None
    changed: tuple[str, ...] = ()

    @property
    def header(self) -> str:
        """The value of `Unhitch-Evidence`."""
        digest = None if self.scorecard is None else bytes.fromhex(self.scorecard.digest)
        return format_evidence(self.status, digest, self.changed)


@dataclass(frozen=True, slots=True)
class Change:
    """What is not as it was when a scorecard was made.

    Args:
        what: As in `Evidence.changed`.
        then: As the scorecard has it, for a sentence.
        now: As it is.
    """

    what: str
    then: str
    now: str


def holding(strategy: StrategyIdentity, model: str, exact: Iterable[FiledScorecard]) -> Evidence:
    """What scorecards say that hold, as `deciding` has it.

    Args:
        strategy: What they validated.
        model: The served name.
        exact: At least one, each of this strategy and the model as it is served.
    """
    cards = list(exact)
    found, what = deciding(cards), f"`{strategy.mitigation}`"
    if found.card.passed:
        return Evidence("passed", f"{what} is validated on {model!r} ({_which(found)}).", found)
    why = " ".join((*found.card.reasons, *_undone(found, [each for each in cards if each.card.passed])))
    return Evidence("failed", f"{what} failed its validation on {model!r} ({_which(found)}): {why}", found)


def stale(strategy: StrategyIdentity, model: str, found: FiledScorecard, changes: tuple[Change, ...]) -> Evidence:
    """A scorecard that no longer holds.

    Args:
        strategy: As it is now.
        model: The served name.
        found: The scorecard.
        changes: At least one.
    """
    listed = "; ".join(f"{change.what} {change.then} then, {change.now} now" for change in changes)
    sentence = (
        f"the evidence for `{strategy.mitigation}` on {model!r} is stale: scorecard {found.digest[:_DIGITS]} was made "
        f"with other {' and '.join(change.what for change in changes)} ({listed}). Make it anew: "
        f"{command(model, strategy)}."
    )
    return Evidence("stale", sentence, found, tuple(change.what for change in changes))


def missing(strategy: StrategyIdentity, model: str) -> Evidence:
    """No scorecard.

    Args:
        strategy: As it is now.
        model: The served name.
    """
    what = f"no scorecard is at hand for `{strategy.mitigation}` on {model!r}."
    return Evidence("missing", f"{what} Make one: {command(model, strategy)}.")


def changes(found: FiledScorecard, strategy: StrategyIdentity, model: ModelIdentity) -> tuple[Change, ...]:
    """What is not as a scorecard has it; empty where it holds.

    Args:
        found: Of the same strategies with the same parameters.
        strategy: As it is now.
        model: As it is served.
    """
    then = found.card.model
    pairs = [(name, getattr(then, name), getattr(model, name)) for name in _OF_A_MODEL]
    pairs.append(("pool", found.card.strategy.pool, strategy.pool))
    changed = [Change(name, _short(old), _short(new)) for name, old, new in pairs if old != new]
    if found.card.strategy.scorer != strategy.scorer:
        changed.append(Change("scorer", _scorer(found.card.strategy.scorer), _scorer(strategy.scorer)))
    if found.card.strategy.mitigation != strategy.mitigation:
        old, new = (versions(value) for value in (found.card.strategy.mitigation, strategy.mitigation))
        changed.append(Change("strategy version", old, new))
    return tuple(changed)


def related(found: FiledScorecard, name: str, model: ModelIdentity) -> bool:
    """Whether a scorecard was once this model's, as far as can be seen: the same served name or a digest in common."""
    pairs = ((getattr(found.card.model, part), getattr(model, part)) for part in _OF_A_MODEL)
    return found.card.name == name or any(old == new and new is not None for old, new in pairs)


def command(model: str, strategy: StrategyIdentity) -> str:
    """The command that validates a strategy, between backquotes; what only the operator knows is in capital letters.

    Args:
        model: The served name.
        strategy: What is to be validated.
    """
    words = ["unhitch", "validate", model, "--url", "URL", "--strategy", strategy.mitigation]
    words += ["--evidence", "DIR"] if strategy.pool is not None else []
    return f"`{shlex.join(words)}`"


def _undone(failure: FiledScorecard, passes: Sequence[FiledScorecard]) -> tuple[str, ...]:
    """The sentence on the newest of the passes that a failure takes away, if there are any."""
    if not passes:
        return ()
    undone = deciding(passes)
    if measured_alike(failure, undone):
        return (f"It withdraws {_which(undone)}, which passed.",)
    return (f"Other questions, or another judge, passed ({_which(undone)}), which does not undo it.",)


def _which(found: FiledScorecard) -> str:
    return f"scorecard {found.digest[:_DIGITS]}, {found.made_at or 'without a date'}"


def _scorer(scorer: JudgeIdentity | None) -> str:
    if scorer is None:
        return "unnamed"
    details = [f"{key} {value[:_DIGITS] if len(value) == _WHOLE else value}" for key, value in scorer.details.items()]
    return ", ".join((f"{scorer.name} {scorer.version}", *details))


def _short(digest: str | None) -> str:
    return "none" if digest is None else digest[:_DIGITS]
