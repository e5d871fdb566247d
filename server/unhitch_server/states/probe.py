"""What the engine is seen to do with states: one patched request at start, and the check of single states."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import Any

from unhitch.errors import EngineError, EngineTimeout, MitigationUnavailable
from unhitch.rendering.anatomy import render
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import FIELD, STATES_ROUTE, Patch, to_params
from unhitch_server.config import Config
from unhitch_server.states.confirmation import PARAMS, check_connector, check_patches
from unhitch_server.states.customer import Customer
from unhitch_server.states.listing import Listing
from unhitch_server.upstream.connection import Told, Upstream

_log = logging.getLogger(__name__)

_HELLO = [{"role": "user", "content": "Hello"}]


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe showed for certain.

    Args:
        failure: Why no state can be served; None where nothing speaks against it.
        when: By the monotonic clock, in seconds.
    """

    failure: str | None
    when: float

    def holds(self, seconds: float) -> bool:
        """Whether it need not be made again: what works is confirmed by each answer, what fails may be mended."""
        return self.failure is None or time.monotonic() - self.when <= seconds


class Probe:
    """Asks the engine to serve, or to check, single states.

    Args:
        config: How the engine renders.
        upstream: The connection.
    """

    def __init__(self, config: Config, upstream: Upstream) -> None:
        self._config = config
        self._upstream = upstream

    async def default_prefix(self, customer: Customer, listing: Listing) -> str | None:
        """Has a state of the default prefix served once, if there is one; gives what speaks against serving states.

        Raises:
            MitigationUnavailable: The engine cannot tell which states are for the model.
            EngineError: The engine is down, busy, or failed the probe for reasons that may pass.
        """
        try:
            prompt = await asyncio.to_thread(self._hello, customer)
        except MitigationUnavailable:
            return None  # a template that cannot render it; a request of that kind gets this error itself
        patch = _default_patch(prompt, listing, customer.name)
        if patch is None:
            return None
        body = {
            "model": customer.name,
            "messages": _HELLO,
            "max_tokens": 1,
            "return_token_ids": True,
            PARAMS: {"prompt_token_ids": list(prompt.token_ids), FIELD: to_params([patch])},
        }
        told = await self._upstream.query("POST", "/v1/chat/completions", body)
        if told.status == 200:
            return _unconfirmed(told, patch)
        if (fault := await self.fault(patch.state)) is not None:
            _log.warning("a state of the default prefix of %s cannot be served: %s", customer.name, fault)
            return None  # the fault is the state's, and no reason to refuse others
        raise EngineError(
            f"no state was served to {customer.name!r}, since the engine answered a probe with the state {patch.state} "
            f"with {told.status} {str(told.body)[:300]}. Its log may say why; the next request probes it again."
        )

    async def fault(self, state: str) -> str | None:
        """What the engine finds wrong with a state whose bytes it checks; None where it finds nothing.

        Raises:
            EngineError: The engine is down.
        """
        try:
            told = await self._upstream.query("GET", f"{STATES_ROUTE}/{state}")
        except EngineTimeout:
            return None  # a large one, on a slow disk
        error = told.body.get("error") if isinstance(told.body, dict) else None
        of_the_state = told.status in (404, 422) and told.connector is not None  # vLLM's own 404 has no such header
        return str(error.get("message")) if of_the_state and isinstance(error, dict) else None

    def _hello(self, customer: Customer) -> Prompt:
        body: dict[str, Any] = {"model": customer.name, "messages": _HELLO}
        conversation = self._config.conversation(body, customer.checkpoint.content_format)
        return render(customer.checkpoint, conversation)


def _default_patch(prompt: Prompt, listing: Listing, model: str) -> Patch | None:
    length, shelf = len(prompt.prefix), listing.shelf(model)
    for card in shelf.cards:
        header = card.header
        if (
            length
            and header.span == "prefix"
            and header.tokens[:length] == prompt.prefix
            and shelf.serves(header)
            and listing.too_large([card.id]) is None
        ):
            return Patch(state=card.id, start=0, tokens=length)
    return None


def _unconfirmed(told: Told, patch: Patch) -> str | None:
    try:
        check_connector(told.connector)
        check_patches(told.body if isinstance(told.body, dict) else {}, [patch])
    except MitigationUnavailable as error:
        return error.message
    return None
