"""What clients may change of a policy, and what is locked."""

from __future__ import annotations

from collections.abc import Sequence

from unhitch import headers as wire
from unhitch.errors import PolicyLocked
from unhitch.mitigation import Step
from unhitch.strategy import Parameters, SeededParameters
from unhitch_server.policy.bound import BoundPolicy
from unhitch_server.policy.decision import idle
from unhitch_server.policy.document import Freedom

_SHOWN_CHARACTERS = 200
_INCLUDED: dict[Freedom, frozenset[Freedom]] = {"choose": frozenset({"choose", "parameters", "seed"})}
_WORDS: dict[Freedom, str] = {
    "choose": f"ask for other strategies in {wire.MITIGATION}",
    "parameters": f"give its strategies other parameters in {wire.MITIGATION}",
    "seed": f"give a seed that it leaves open, and a session in {wire.SESSION}",
    "off": f"send `{wire.MITIGATION}: off`",
}


def check_steps(policy: BoundPolicy, asked: tuple[Step, ...], lines: Sequence[str]) -> None:
    """Sees that a policy lets clients ask for steps.

    Args:
        policy: What the client would get without.
        asked: What it asks for instead.
        lines: The header's lines, for the message.

    Raises:
        PolicyLocked: It does not.
    """
    if not _needed(policy.steps, asked) <= _granted(policy):
        raise _locked(policy, wire.MITIGATION, ", ".join(lines))


def check_session(policy: BoundPolicy, session: str) -> None:
    """Sees that a policy lets clients name a session.

    Raises:
        PolicyLocked: It does not.
    """
    if not may_name_session(policy):
        raise _locked(policy, wire.SESSION, session)


def may_name_session(policy: BoundPolicy) -> bool:
    """Whether the policy lets clients name a session."""
    return "seed" in _granted(policy)


def check_policy(policy: BoundPolicy, named: str) -> None:
    """Sees that a policy lets clients name another in its place; its own name may always be given.

    Raises:
        PolicyLocked: It does not.
    """
    if named != policy.name and named not in policy.written.clients_may_name:
        raise _locked(policy, wire.POLICY, named)


def allowed(policy: BoundPolicy) -> str:
    """What a policy lets clients do, as a sentence continues after `clients may`."""
    granted = _granted(policy)
    words = [text for freedom, text in _WORDS.items() if freedom in granted]
    if names := policy.written.clients_may_name:
        words.append(f"name {', '.join(map(repr, names))} in {wire.POLICY}")
    return "; ".join(words) or "change nothing"


def _granted(policy: BoundPolicy) -> frozenset[Freedom]:
    named = policy.written.clients_may
    return frozenset(named).union(*(_INCLUDED.get(freedom, frozenset()) for freedom in named))


def _needed(own: tuple[Step, ...], asked: tuple[Step, ...]) -> frozenset[Freedom]:
    """What a client must be free to do to have `asked` in place of `own`.

    `tokens` is no change: it can have an edit refused, and never made otherwise.
    """
    if idle(asked):
        return frozenset() if idle(own) else frozenset({"off"})
    if [step.strategy.name for step in own] != [step.strategy.name for step in asked]:
        return frozenset({"choose"})
    return frozenset(
        freedom
        for mine, theirs in zip(own, asked, strict=True)
        for freedom in _changes(mine.parameters, theirs.parameters)
    )


def _changes(own: Parameters, asked: Parameters) -> set[Freedom]:
    changed = {key for key in type(own).model_fields if getattr(own, key) != getattr(asked, key)}
    needed: set[Freedom] = set()
    if "seed" in changed and isinstance(own, SeededParameters) and own.seed is None:
        # A seed that the operator gave is a variant that the operator chose.
        changed.remove("seed")
        needed.add("seed")
    return needed | {"parameters"} if changed else needed


def _locked(policy: BoundPolicy, header: str, asked: str) -> PolicyLocked:
    short = asked if len(asked) <= _SHOWN_CHARACTERS else f"{asked[: _SHOWN_CHARACTERS - 3]}..."
    return PolicyLocked(
        f"{header} asked for {short!r}, and the operator's policy {policy.name!r} does not let clients do so. "
        f"Clients may {allowed(policy)}. Leave the header out, or ask the operator.",
        param=header,
    )
