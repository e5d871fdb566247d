"""Which strategies a request gets: its headers, else the operator's default."""

from __future__ import annotations

from collections.abc import Iterable

from unhitch import headers as wire
from unhitch.errors import HeaderError, UnknownPolicy
from unhitch.mitigation import Step
from unhitch.registry import Registry
from unhitch.states.choice import StateParameters
from unhitch_server.config import Config
from unhitch_server.policy.decision import Decision
from unhitch_server.upstream.connection import OWN_PREFIX

_LONGEST = 16_384
"""Bytes of one of our headers; parsed ones are cached."""


class PolicyTable:
    """The operator's policies, checked at start.

    Args:
        config: Gives the default and the named policies.
        registry: Where strategies are looked up.

    Raises:
        InvalidRequest: The default or a named policy does not parse or validate.
    """

    def __init__(self, config: Config, registry: Registry) -> None:
        self._registry = registry
        self._default = self._steps(config.mitigation)
        self._named = {name: self._steps(value) for name, value in config.policies.items()}

    @property
    def names(self) -> list[str]:
        """The policies that a header may name."""
        return sorted(self._named)

    @property
    def default(self) -> Decision:
        """What a request without a header of ours gets."""
        return Decision(self._default)

    @property
    def need_states(self) -> bool:
        """Whether the default or a named policy has a strategy that serves states."""
        steps = (step for policy in (self._default, *self._named.values()) for step in policy)
        return any(isinstance(step.parameters, StateParameters) for step in steps)

    def decide(self, request_headers: Iterable[tuple[bytes, bytes]]) -> Decision:
        """What a request gets.

        Args:
            request_headers: Raw header lines; names in any case.

        Raises:
            HeaderError: A header of ours is malformed, unknown, or contradicts another.
            UnknownStrategy: A strategy that is not registered.
            UnknownPolicy: A policy that the operator has not named.
            BadParameter: A parameter that the strategy does not accept.
        """
        own: dict[str, list[str]] = {}
        for key, value in request_headers:
            name = key.decode("latin-1").lower()
            if key.lower().startswith(OWN_PREFIX):
                own.setdefault(name, []).append(value.decode("latin-1"))
                if (size := sum(map(len, own[name]))) > _LONGEST:
                    raise HeaderError(f"{name} has {size} bytes or more; at most {_LONGEST} are read", param=name)
        if not own:
            return self.default
        asked, policy = own.pop(wire.MITIGATION.lower(), None), own.pop(wire.POLICY.lower(), None)
        session = own.pop(wire.SESSION.lower(), None)
        if own:
            raise HeaderError(
                f"unknown header {next(iter(own))!r}; requests may carry "
                f"{wire.MITIGATION}, {wire.POLICY} and {wire.SESSION}",
                param=next(iter(own)),
            )
        if asked is not None and policy is not None:
            raise HeaderError(
                f"{wire.MITIGATION} and {wire.POLICY} came together; send one: a policy already says what is done",
                param=wire.POLICY,
            )
        steps = self._default
        if asked is not None:
            steps = self._steps(*asked)
        elif policy is not None:
            steps = self._policy(wire.parse_policy(*policy))
        return Decision(steps, wire.parse_session(*session) if session is not None else None)

    def _policy(self, name: str) -> tuple[Step, ...]:
        try:
            return self._named[name]
        except KeyError:
            known = ", ".join(self.names) or "none is configured"
            raise UnknownPolicy(
                f"no policy is named {name!r}; the operator's policies: {known}", param=wire.POLICY
            ) from None

    def _steps(self, *lines: str) -> tuple[Step, ...]:
        return self._registry.bind(wire.parse_mitigation(*lines))
