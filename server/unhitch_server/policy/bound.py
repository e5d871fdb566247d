"""Policies whose strategies were looked up and whose references lead somewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from unhitch import headers as wire
from unhitch.binding import suggestion
from unhitch.errors import UnhitchError
from unhitch.mitigation import Step
from unhitch.registry import Registry
from unhitch_server.policy.decision import idle
from unhitch_server.policy.document import Document, Policy
from unhitch_server.policy.errors import InvalidPolicy
from unhitch_server.policy.places import Path, Places


@dataclass(frozen=True, slots=True)
class BoundPolicy:
    """One policy, ready for requests.

    Args:
        name: The operator's.
        written: As the document has it.
        steps: Its strategies with their parameters, in order.
        shadow: The same of its shadow arm; empty without one.
    """

    name: str
    written: Policy
    steps: tuple[Step, ...]
    shadow: tuple[Step, ...] = ()

    @property
    def idle(self) -> bool:
        """Whether it does nothing."""
        return idle(self.steps)


def bind(document: Document, registry: Registry, places: Places) -> dict[str, BoundPolicy]:
    """The document's policies by name.

    Args:
        document: Valid by itself.
        registry: Where strategies are looked up.
        places: Where the document's parts stand.

    Raises:
        InvalidPolicy: All mitigations that do not parse or validate, and all references that lead nowhere.
    """
    faults = [places.fault(path, problem) for path, problem in _lost(document)]
    bound = {}
    for name, written in document.policies.items():
        steps: tuple[Step, ...] = ()
        shadow: tuple[Step, ...] = ()
        path: Path = ("policies", name, "mitigation")
        try:
            steps = registry.bind(wire.parse_mitigation(written.mitigation))
            if written.shadow is not None:
                path = ("policies", name, "shadow", "mitigation")
                shadow = registry.bind(wire.parse_mitigation(written.shadow.mitigation))
        except UnhitchError as error:
            faults.append(places.fault(path, error.message))
        bound[name] = BoundPolicy(name, written, steps, shadow)
    if faults:
        raise InvalidPolicy(faults)
    return bound


def _lost(document: Document) -> Iterator[tuple[Path, str]]:
    """References that lead nowhere."""
    upstreams, policies = document.upstreams, document.policies
    yield from _unless_known(("default",), document.default, policies, "policy")
    if document.default_upstream is not None:
        yield from _unless_known(("default_upstream",), document.default_upstream, upstreams, "upstream")
    elif len(upstreams) > 1:
        yield ("upstreams",), f"{len(upstreams)} are named; say with `default_upstream` where requests go by default"
    for name, alias in document.models.items():
        at: Path = ("models", name)
        if alias.policy is not None:
            yield from _unless_known((*at, "policy"), alias.policy, policies, "policy")
        if alias.upstream is not None:
            yield from _unless_known((*at, "upstream"), alias.upstream, upstreams, "upstream")
        if alias.model != name and alias.model in document.models:
            yield (*at, "model"), f"{alias.model!r} is an alias itself; name the engine's model"
    for name, policy in policies.items():
        at = ("policies", name)
        for number, other in enumerate(policy.clients_may_name):
            yield from _unless_known((*at, "clients_may_name", number), other, policies, "policy")
        if policy.rollout is not None:
            yield from _bad_rollout((*at, "rollout", "otherwise"), policy.rollout.otherwise, policies)
    for number, rule in enumerate(document.rules):
        yield from _unless_known(("rules", number, "policy"), rule.policy, policies, "policy")


def _bad_rollout(path: Path, otherwise: str, policies: Mapping[str, Policy]) -> Iterator[tuple[Path, str]]:
    yield from _unless_known(path, otherwise, policies, "policy")
    if otherwise in policies and policies[otherwise].rollout is not None:
        yield path, f"{otherwise!r} has a rollout, and so cannot be what all others get"


def _unless_known(path: Path, name: str, known: Mapping[str, object], kind: str) -> Iterator[tuple[Path, str]]:
    if name not in known:
        names = ", ".join(known) or "none"
        yield path, f"no {kind} is named {name!r}. {suggestion(name, list(known))}There is: {names}"
