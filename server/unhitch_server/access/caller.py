"""Whoever sent a request, as far as the proxy knows, and what they may ask for."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from unhitch import headers as wire
from unhitch.errors import NotPermitted

EVERYTHING = ("*",)
"""The patterns of a key that may use every model, or every policy."""


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever sent a request.

    Args:
        name: Of the key; None where no keys are in use, and for the operator on a control route.
        models: Names of models that may be asked for; a trailing `*` stands for any ending.
        policies: The same for policies.
        per_minute: Requests a minute, or None for any number.
        concurrent: Requests at once, or None for any number.
        identity: Tells keys apart whose names were used again: the key's SHA-256 in hex.
    """

    name: str | None = None
    models: tuple[str, ...] = EVERYTHING
    policies: tuple[str, ...] = EVERYTHING
    per_minute: int | None = None
    concurrent: int | None = None
    identity: str = field(default="", repr=False)

    @property
    def any_model(self) -> bool:
        """Whether the model need not be looked at."""
        return "*" in self.models

    def may_use(self, model: str) -> bool:
        """Whether a model is the caller's to use, and to see."""
        return covers(self.models, model)

    def require_model(self, model: str | None) -> None:
        """Refuses a model that the key is not for.

        Args:
            model: As the request names it; None where it names none and the engine would take its first.

        Raises:
            NotPermitted: The key does not cover it.
        """
        if self.any_model or (model is not None and self.may_use(model)):
            return
        asked = "the request names no model in a JSON body" if model is None else f"the model {model!r} was asked for"
        raise NotPermitted(f"{asked}; the key {self.name!r} is for {_listed(self.models)}", param="model")

    def require_policy(self, policy: str) -> None:
        """Refuses a policy that the key is not for.

        Raises:
            NotPermitted: The key does not cover it.
        """
        if not covers(self.policies, policy):
            raise NotPermitted(
                f"the request would be served under the policy {policy!r}; the key {self.name!r} is for "
                f"{_listed(self.policies)}",
                param=wire.POLICY,
            )


ANYONE = Caller()
"""Whoever calls where no keys are in use."""

OPERATOR = Caller()
"""Whoever gave the control key on a control route; no limit holds for them."""


def covers(patterns: Iterable[str], name: str) -> bool:
    """Whether a name is one of those given, where a trailing `*` stands for any ending."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern  # not fnmatch: names may have []
        for pattern in patterns
    )


def _listed(patterns: Iterable[str]) -> str:
    return ", ".join(patterns) or "none"
