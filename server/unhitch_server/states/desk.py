"""The desk where states are asked for: which ones the engine serves to a model, and what is done about one missing."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import TypeVar

from unhitch.errors import EngineError, MitigationUnavailable, PatchFailed, StateMissing
from unhitch.states.choice import Wanted
from unhitch.states.patch import STATES_ROUTE, Patch
from unhitch.states.shelf import Shelf
from unhitch_server.config import Config
from unhitch_server.states.capture import Captures
from unhitch_server.states.customer import Customer
from unhitch_server.states.listing import Listing
from unhitch_server.states.probe import Probe, Probed
from unhitch_server.states.shared import Shared
from unhitch_server.upstream.connection import Upstream

T = TypeVar("T")

NO_CONNECTOR = (
    "the engine runs without unhitch's connector, so it serves no states. Start vLLM with `unhitch up --states DIR`, "
    "or with the options that `unhitch engine-options --states DIR` prints."
)

ASKED_ANEW_SECONDS = 1.0
"""What a list so young lacks is missing: requests that miss a state come in crowds, and lists are long."""

_log = logging.getLogger(__name__)


def _holding(listing: Listing | None, model: str, wanted: Wanted) -> Shelf | None:
    """A model's shelf, where what is wanted stands on it."""
    shelf = listing.shelf(model) if listing is not None else None
    return shelf if shelf is not None and wanted.on(shelf) is not None else None


def fitting(shelf: Shelf) -> int:
    """How many states of a shelf are for its model."""
    return sum(shelf.serves(card.header) for card in shelf.cards)


class StateDesk:
    """What is known of the states of one engine. Nothing is asked before a request needs a state, or a probe does.

    Args:
        config: How long what was seen holds, and how the engine renders.
        upstream: The connection; entered before anything is asked.
    """

    def __init__(self, config: Config, upstream: Upstream) -> None:
        self._config = config
        self._upstream = upstream
        self._captures = Captures(upstream)
        self._probe = Probe(config, upstream)
        self._asking: Shared[None, Listing | None] = Shared()
        self._probing: Shared[str, Probed] = Shared()
        self._listing: Listing | None = None
        self._listed = -math.inf
        self._probed: dict[str, Probed] = {}

    def forget(self) -> None:
        """Has all asked anew before the next state is served; called when a connection was lost."""
        self._asking.forget()
        self._probing.forget()
        self._listing = None
        self._probed = {}

    async def close(self) -> None:
        """Ends the captures and questions under way."""
        await asyncio.gather(self._captures.close(), self._probing.close(), self._asking.close())

    async def stocked(
        self,
        work: Callable[[Shelf | None], T],
        customer: Customer,
        *,
        capture: bool = True,
        waiting: AbstractContextManager[None] = nullcontext(),  # noqa: B008 - it keeps no state
    ) -> T:
        """What `work` makes of the shelf of a model; made again once a state that it misses is there.

        Args:
            work: Edits a prompt; runs in a thread.
            customer: The model.
            capture: Whether what is missing may be captured; a dry run captures nothing.
            waiting: Entered while the engine is waited for.

        Raises:
            StateMissing: A state is missing, and cannot be captured; the message says why, and what makes it.
            MitigationUnavailable: The engine serves no states.
            EngineError: The engine is down.
        """
        shelf = self._known(customer.name)
        supplied: set[Wanted] = set()
        while True:
            try:
                return await asyncio.to_thread(work, shelf)
            except StateMissing as missing:
                with waiting:
                    if shelf is None:  # nothing was known of them yet
                        shelf = await self.learn(customer)
                    elif missing.wanted in supplied:
                        raise
                    else:
                        supplied.add(missing.wanted)
                        shelf = await self._supply(customer, missing, capture=capture)

    async def learn(self, customer: Customer) -> Shelf:
        """What a model can be patched with, once the engine has been seen to serve a state to it, if it has one.

        Args:
            customer: The model.

        Raises:
            MitigationUnavailable: The engine serves no states, cannot tell which are for the model, or did not confirm
                the probe.
            EngineError: The engine is down, or answers what is no list of states.
        """
        return (await self._learn(customer, self._fresh(self._config.recheck_seconds))).shelf(customer.name)

    async def failure(self, patches: Sequence[Patch], words: str, request_id: str | None = None) -> PatchFailed:
        """Why the engine failed a request that names states: it does not say so itself, but in its log.

        Args:
            patches: What it was to serve.
            words: What it said.
            request_id: What it called the request, if it said so.

        Raises:
            EngineError: The engine is down.
        """
        self._listed = -math.inf  # what it lists may have gone
        states = [patch.state for patch in patches]
        too_large = self._listing.too_large(states) if self._listing is not None else None
        faults = [fault for state in states if (fault := await self._probe.fault(state)) is not None]
        called = "" if request_id is None else f" at the request {request_id[:100]!r}"
        reason = " ".join(faults) or (
            f"{too_large or f'it says {words[:200]!r}, and its states are sound;'} see the engine's log{called}."
        )
        return PatchFailed(f"the engine failed a request that a state was to serve, and generated nothing: {reason}")

    def _fresh(self, seconds: float) -> Listing | None:
        """The latest list, unless it is older."""
        return self._listing if time.monotonic() - self._listed <= seconds else None

    def _known(self, model: str) -> Shelf | None:
        """The shelf of a model that has been learned, while it is fresh."""
        listing, probed = self._fresh(self._config.recheck_seconds), self._probed.get(model)
        if listing is None or probed is None or probed.failure is not None:
            return None
        try:
            return listing.shelf(model)
        except MitigationUnavailable:
            return None  # whoever needs a state asks anew, and is told then

    async def _learn(self, customer: Customer, listing: Listing | None) -> Listing:
        """A listing, asked for anew if none is given, once the model has passed its probe."""
        listing = listing or await self._ask()
        if listing is None:
            raise MitigationUnavailable(NO_CONNECTOR)
        probed = self._probed.get(customer.name)
        if probed is None or not probed.holds(self._config.recheck_seconds):
            probed = await self._probing.join(customer.name, partial(self._try, customer, listing))
        if probed.failure is not None:
            raise MitigationUnavailable(f"no state is served to {customer.name!r}: {probed.failure}")
        return listing

    async def _try(self, customer: Customer, listing: Listing) -> Probed:
        kept = self._probed
        kept[customer.name] = probed = Probed(await self._probe.default_prefix(customer, listing), time.monotonic())
        return probed

    async def _supply(self, customer: Customer, missing: StateMissing, *, capture: bool) -> Shelf:
        """A shelf on which what is missing stands."""
        listing = await self._learn(customer, self._fresh(ASKED_ANEW_SECONDS))
        listing = self._listing or listing  # the latest one: another request may have had it captured
        if (shelf := _holding(listing, customer.name, missing.wanted)) is not None:
            return shelf
        reason = self._why_not(listing, customer.name, missing)
        if reason is None and not capture:
            reason = "It would be captured on first use; a dry run has nothing computed."
        if reason is None:
            try:
                return await self._capture(customer, missing.wanted, listing)
            except MitigationUnavailable as error:
                reason = error.message
        command = customer.command(missing, listing.folder, self._config)
        raise missing.because(f"{reason} {command}".strip())

    def _why_not(self, listing: Listing, model: str, missing: StateMissing) -> str | None:
        """Why a state is not captured on first use; None where it is."""
        wanted, base = missing.wanted, listing.models[model].base
        if wanted.span != "prefix" and not listing.overlays:
            return "The engine serves states of prefixes only: it was started without overlays."
        if wanted.state is not None:
            problem = listing.problem(wanted.state)
            return f"The engine says: {problem}" if problem else "Leave `state` out to take the one that fits."
        if not missing.may_capture:
            return "It is not captured on first use, as `capture=never` asks."
        if wanted.recipe.needs_finetuned:
            return "Only states of all layers, k and v, are captured on first use."
        if base is None or base not in listing.models:
            return f"It cannot be captured on first use: {model!r} is no adapter whose base the engine serves by name."
        if len(listing.cards) >= self._config.most_states:
            return (
                f"It is not captured on first use: with {len(listing.cards)} states the engine has as many as may be."
            )
        return None

    async def _capture(self, customer: Customer, wanted: Wanted, listing: Listing) -> Shelf:
        base = listing.models[customer.name].base
        assert base is not None  # noqa: S101 - `_why_not` has seen to it

        async def listed() -> bool:
            return _holding(await self._ask(), customer.name, wanted) is not None

        await self._captures.capture(base, wanted, customer.checkpoint, listed)
        shelf = _holding(self._listing, customer.name, wanted) or _holding(await self._ask(), customer.name, wanted)
        if shelf is None:
            raise MitigationUnavailable("It was captured, and is gone again.")
        return shelf

    async def _ask(self) -> Listing | None:
        """The engine's list, asked for anew; callers at the same time share one request, so that lists come in order.

        None is an engine without the connector.
        """
        return await self._asking.join(None, self._list)

    async def _list(self) -> Listing | None:
        known = self._probed
        status, body = await self._upstream.ask("GET", STATES_ROUTE)
        earlier, listing = self._listing, None
        if status == 401:
            raise EngineError(
                "the engine wants a key for the proxy's own questions: set UNHITCH_UPSTREAM_API_KEY to its --api-key"
            )
        if status not in (200, 404):
            raise EngineError(f"the engine's {STATES_ROUTE} answered {status} {str(body)[:300]}")
        if status == 200:
            listing = await asyncio.to_thread(Listing.parse, body, earlier)
            for problem in listing.problems:
                if earlier is None or problem not in earlier.problems:
                    _log.warning("the engine cannot serve one of its states: %s", problem)
        if self._probed is known:  # nothing was forgotten meanwhile
            self._listing, self._listed = listing, time.monotonic()
        return listing
