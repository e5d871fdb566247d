"""Which policy a request falls under, and what it gets by that and by its headers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType

from unhitch import headers as wire
from unhitch.errors import InvalidBody, UnknownPolicy
from unhitch.registry import Registry
from unhitch.states.choice import StateParameters
from unhitch_server.policy.asking import Asking, asking
from unhitch_server.policy.bound import BoundPolicy, bind
from unhitch_server.policy.decision import Decision
from unhitch_server.policy.document import Alias, Document, Rule
from unhitch_server.policy.locks import check_policy, check_session, check_steps, may_name_session
from unhitch_server.policy.places import Places
from unhitch_server.policy.shares import in_share


class PolicyTable:
    """The operator's policies, checked.

    The first rule that matches decides; else the policy of the model's alias; else the default. A rule is asked for the
    alias and for the engine's model behind it, so naming an alias leads past no rule. An alias can only add to a rule:
    its policy holds where the rule's does nothing.

    Args:
        document: As the operator wrote it.
        registry: Where strategies are looked up.
        places: Where the document's parts stand, for messages.
        chance: Gives numbers from 0 to 1, 1 excluded.

    Raises:
        InvalidPolicy: A mitigation does not parse or validate, or a reference leads nowhere.
    """

    def __init__(
        self,
        document: Document,
        registry: Registry,
        places: Places | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.document = document
        self.policies: Mapping[str, BoundPolicy] = MappingProxyType(bind(self.document, registry, places or Places()))
        self._registry = registry
        self._chance = chance

    @property
    def names(self) -> list[str]:
        """All policies."""
        return sorted(self.policies)

    @property
    def aliases(self) -> Mapping[str, Alias]:
        """What clients may give as the model, beside the engine's own names."""
        return self.document.models

    @property
    def default(self) -> Decision:
        """What a request gets that has no header of ours and that no rule and no alias has another policy for.

        It is the default policy's own, without rollout and shadow.
        """
        return self._decision(self.policies[self.document.default], None)

    @property
    def need_states(self) -> bool:
        """Whether a policy has a strategy that serves states."""
        steps = (step for policy in self.policies.values() for step in policy.steps)
        return any(isinstance(step.parameters, StateParameters) for step in steps)

    @property
    def mitigates(self) -> bool:
        """Whether a policy does something, without a client asking for it."""
        return not all(policy.idle for policy in self.policies.values())

    @property
    def needs_body(self) -> bool:
        """Whether what stands in a request's body matters to what it gets: the model, or for a rollout the opening."""
        ruled = any(rule.models is not None for rule in self.document.rules)
        return bool(self.document.models) or ruled or any(each.written.rollout for each in self.policies.values())

    def decide(
        self,
        request_headers: Iterable[tuple[bytes, bytes]],
        *,
        key: str | None = None,
        model: str | None = None,
        route: str = "",
        opening: str | None = None,
        generates: bool = True,
    ) -> Decision:
        """What a request gets.

        Args:
            request_headers: Raw header lines; names in any case.
            key: The name of the client's key, if keys are in use.
            model: What the body names as the model, as the engine reads it; None where it names none, or where
                `needs_body` is false.
            route: The path, percent-decoded, without the query.
            opening: How the conversation begins, as `policy.opening` has it. It keeps a rollout's share where neither
                session nor key does; without any of them chance decides.
            generates: Whether an answer may be generated: then the model must be known where policies depend on it.

        Raises:
            HeaderError: A header of ours is malformed, unknown, or contradicts another.
            UnknownStrategy: A strategy that is not registered.
            UnknownPolicy: A policy that the operator has not named.
            BadParameter: A parameter that the strategy does not accept.
            PolicyLocked: The policy does not let clients do what a header asks.
            InvalidBody: The body names no model, and what the request gets depends on it.
        """
        asked = asking(request_headers)
        alias = self.document.models.get(model) if model is not None else None

        def arm(name: str) -> BoundPolicy:
            return self._arm(self.policies[name], asked.session, key or opening)

        policy = self._governing(key, model, alias, route, arm, generates=generates)
        if asked.policy is not None:
            self._check_named(policy, asked.policy)
            policy = arm(asked.policy)
        return self._decision(policy, alias, asked)

    def _governing(
        self,
        key: str | None,
        model: str | None,
        alias: Alias | None,
        route: str,
        arm: Callable[[str], BoundPolicy],
        *,
        generates: bool,
    ) -> BoundPolicy:
        models = None if model is None else (model,) if alias is None else (model, alias.model)
        rule = self._rule(key, models, route, generates=generates)
        if alias is None or alias.policy is None:
            return arm(self.document.default if rule is None else rule.policy)
        if rule is None or (ruled := arm(rule.policy)).idle:
            added = arm(alias.policy)
            return added if rule is None or not added.idle else ruled
        return ruled

    def _rule(self, key: str | None, models: Sequence[str] | None, route: str, *, generates: bool) -> Rule | None:
        """The first rule that matches.

        Raises:
            InvalidBody: It depends on the model, and that is not known.
        """
        for rule in self.document.rules:
            if not (_matches(rule.keys, key) and _matches(rule.routes, route)):
                continue
            if models is None and rule.models is not None and generates:
                raise InvalidBody(
                    "the request names no model, and what it gets depends on the model; give one of /v1/models",
                    param="model",
                )
            if rule.models is None or any(_matches(rule.models, each) for each in models or ()):
                return rule
        return None

    def _arm(self, policy: BoundPolicy, session: str | None, holder: str | None) -> BoundPolicy:
        """The policy, or what its rollout has in its place."""
        rollout = policy.written.rollout
        if rollout is None:
            return policy
        if session is not None and may_name_session(policy):
            holder = f"session {session}"
        if holder is None:
            inside = self._chance() * 100 < rollout.percent
        else:
            inside = in_share(rollout.percent, policy.name, holder)
        return policy if inside else self.policies[rollout.otherwise]

    def _check_named(self, policy: BoundPolicy, named: str) -> None:
        if named not in self.policies:
            known = ", ".join(sorted({policy.name, *policy.written.clients_may_name}))
            raise UnknownPolicy(f"no policy is named {named!r}; such a request may name {known}", param=wire.POLICY)
        check_policy(policy, named)

    def _decision(self, policy: BoundPolicy, alias: Alias | None, asked: Asking | None = None) -> Decision:
        steps, written = policy.steps, policy.written
        if asked is not None and asked.mitigation:
            steps = self._registry.bind(wire.parse_mitigation(*asked.mitigation))
            check_steps(policy, steps, asked.mitigation)
        if asked is not None and asked.session is not None:
            check_session(policy, asked.session)
        shadow = written.shadow if asked is not None else None
        return Decision(
            steps,
            session=asked.session if asked is not None else None,
            policy=policy.name,
            fail_open=written.on_failure == "open" and not (asked is not None and asked.mitigation),
            require=written.require_validated,
            unrecognised=written.unrecognised_prompts,
            model=None if alias is None else alias.model,
            upstream=(alias and alias.upstream) or self.document.main_upstream,
            shadow=policy.shadow if shadow is not None and self._chance() * 100 < shadow.percent else None,
        )


def _matches(patterns: Sequence[str] | None, value: str | None) -> bool:
    if patterns is None or value is None:
        return patterns is None
    return any(value.startswith(pattern[:-1]) if pattern.endswith("*") else value == pattern for pattern in patterns)
