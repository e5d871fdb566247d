"""The gate: the operator's evidence, and whether a request's strategies may be used by it."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time

from unhitch import headers as wire
from unhitch.errors import NotValidated
from unhitch.evidence.identity import JudgeIdentity
from unhitch.evidence.library import Library
from unhitch.evidence.standing import Evidence
from unhitch.evidence.view import View
from unhitch.registry import Registry
from unhitch.strategies import best_of
from unhitch.strategy import Expanding
from unhitch_server.best_of.scorer import Scorer
from unhitch_server.config import Config
from unhitch_server.policy.decision import Decision
from unhitch_server.states.customer import Customer
from unhitch_server.states.shared import Shared

LOOKED_SECONDS = 2.0
"""How long folders are taken to stay as seen."""

_log = logging.getLogger(__name__)


class Gate:
    """Looks into the folders of evidence, and lets requests through or refuses them.

    Args:
        config: Names the folders.
        registry: Binds what scorecards and pools name.
        scorer: Chooses for `best-of`, if there is one: evidence of another one does not hold.
    """

    def __init__(self, config: Config, registry: Registry, scorer: Scorer | None = None) -> None:
        self._folders = config.evidence
        self._bundled = config.bundled_evidence
        self._registry = registry
        self._scorer = scorer
        self._reading: Shared[None, Library] = Shared()
        self._library: Library | None = None
        self._looked = 0.0
        self._views: dict[str, tuple[Library, View]] = {}

    async def close(self) -> None:
        """Ends a reading under way."""
        await self._reading.close()

    @property
    def scorer(self) -> JudgeIdentity | None:
        """What chooses for `best-of`; None where nothing does, or it has not been seen to work."""
        return None if self._scorer is None else self._scorer.identity

    async def scorer_ready(self) -> None:
        """Sees once that the scorer, if there is one, can rate.

        Raises:
            ScorerFailed: It cannot.
        """
        if self._scorer is not None:
            await self._scorer.ready()

    async def library(self) -> Library:
        """All evidence there is; folders are looked into again where the last look is some seconds old."""
        if self._library is not None and time.monotonic() - self._looked <= LOOKED_SECONDS:
            return self._library
        return await self._reading.join(None, self._read)

    async def view(self, customer: Customer) -> View:
        """The evidence as it is for a served model."""
        library = await self.library()
        known = self._views.get(customer.name)
        if known is not None and known[0] is library:
            view = known[1]
            if (view.identity, view.scorer) == (customer.identity, self.scorer):
                return view
        view = library.view(customer.name, customer.identity, customer.unidentified, self.scorer)
        self._views[customer.name] = (library, view)
        return view

    async def inform(self, decision: Decision, customer: Customer) -> Decision:
        """The decision with the evidence that its strategies choose by, and with what is known of them.

        Raises:
            ScorerFailed: The scorer is to choose, and cannot rate.
        """
        if best_of.leads(decision.steps):
            await self.scorer_ready()
        view = await self.view(customer)
        evidence = None if decision.off else await asyncio.to_thread(view.evidence, decision.steps)
        return dataclasses.replace(decision, view=view, evidence=evidence)

    async def admit(self, decision: Decision, customer: Customer) -> Decision:
        """The decision, informed as far as that is needed; `off` goes through as it is.

        Raises:
            NotValidated: The operator requires evidence, and there is none that holds for this model and passes.
            ScorerFailed: The scorer is to choose, and cannot rate.
        """
        if decision.off or (decision.require == "no" and not _expands(decision)):
            return decision
        decision = await self.inform(decision, customer)
        if decision.require == "no":
            return dataclasses.replace(decision, evidence=None)
        evidence = decision.evidence
        if decision.require == "refuse" and evidence is not None and evidence.status != "passed":
            raise refusal(evidence)
        return decision

    async def _read(self) -> Library:
        earlier = self._library
        if earlier is None:
            library = await asyncio.to_thread(Library.read, self._folders, self._registry, bundled=self._bundled)
        else:
            library = await asyncio.to_thread(earlier.refreshed)
        known = () if earlier is None else earlier.unreadable
        for each in library.unreadable:
            if each not in known:
                _log.warning("evidence in %s is of no use: %s", each.file.parent, each.reason)
        self._library, self._looked = library, time.monotonic()
        return library


def refusal(evidence: Evidence) -> NotValidated:
    """The error for a strategy that is not validated, where evidence is required."""
    return NotValidated(
        f"The operator lets validated strategies through only, and {evidence.sentence} Nothing was generated; a proxy "
        "that validates must not require evidence.",
        param=wire.MITIGATION,
    )


def _expands(decision: Decision) -> bool:
    return any(isinstance(step.strategy, Expanding) for step in decision.steps)
