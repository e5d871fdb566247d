"""Capture on first use: the engine records the base model's K/V of a prefix, once for all requests that wait for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from unhitch.errors import CheckpointError, MitigationUnavailable, UnhitchError
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.states.choice import Wanted
from unhitch.states.patch import FIELD
from unhitch_server.states.confirmation import PARAMS
from unhitch_server.states.guard import CAPTURE
from unhitch_server.states.shared import Shared
from unhitch_server.upstream.connection import Upstream

_log = logging.getLogger(__name__)

WRITTEN_SECONDS = 30.0
"""How long the engine may take to write a state that it has captured."""

_FIRST_POLL_SECONDS, _LONGEST_POLL_SECONDS = 0.05, 1.0


class Captures:
    """The captures under way; a capture goes on when the request that began it is gone.

    Args:
        upstream: The connection to the engine.
    """

    def __init__(self, upstream: Upstream) -> None:
        self._upstream = upstream
        self._running: Shared[tuple[str, Wanted], None] = Shared()

    async def capture(
        self, base: str, wanted: Wanted, checkpoint: Checkpoint, listed: Callable[[], Awaitable[bool]]
    ) -> None:
        """Returns once the engine lists the state; callers that want the same one share one capture.

        It may stand in the engine's queue for as long as that takes: begun anew it would only stand at its end.

        Args:
            base: The served name of the base model.
            wanted: What the state must hold; of the plain recipe.
            checkpoint: Tokenizer and template for the state's header.
            listed: Asks the engine whether it lists a state that fits.

        Raises:
            MitigationUnavailable: The engine refused, or no state appeared in time.
            EngineError: The engine is down.
        """
        await self._running.join((base, wanted), partial(self._capture, base, wanted, checkpoint, listed))

    async def close(self) -> None:
        """Ends the captures under way."""
        await self._running.close()

    async def _capture(
        self, base: str, wanted: Wanted, checkpoint: Checkpoint, listed: Callable[[], Awaitable[bool]]
    ) -> None:
        try:
            body = await asyncio.to_thread(_body, base, wanted, checkpoint)
            status, answer = await self._upstream.ask("POST", "/v1/completions", body, patient=True)
            if status != 200:
                raise MitigationUnavailable(
                    f"The engine was asked to capture it from {base!r}, and answered {status} {_words(answer)}; its "
                    "log says why (a prefix may be larger than the memory that its connector may fill)."
                )
            await _written(base, listed)
        except UnhitchError as error:  # nobody may be left to hear of it
            _log.warning("a state could not be captured: %s", error.message)
            raise
        _log.info("captured a state of %s: %s, %d positions", base, wanted.span, wanted.positions)


async def _written(base: str, listed: Callable[[], Awaitable[bool]]) -> None:
    """Returns once the engine lists what it has captured; a list can be long, so it is asked for ever more rarely."""
    end, pause = time.monotonic() + WRITTEN_SECONDS, _FIRST_POLL_SECONDS
    while not await listed():
        if time.monotonic() > end:
            raise MitigationUnavailable(
                f"The engine captured it from {base!r}, but lists no such state after {WRITTEN_SECONDS:.0f} s; its "
                "log may say why."
            )
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_POLL_SECONDS)


def _body(base: str, wanted: Wanted, checkpoint: Checkpoint) -> dict[str, Any]:
    from unhitch.states.fingerprint import tokenizer_digest

    try:
        tokenizer = tokenizer_digest(checkpoint.path)
    except CheckpointError as error:
        raise MitigationUnavailable(f"It cannot be captured: {error.message}") from error
    capture = {
        "span": wanted.span,
        "start": wanted.start,
        "tokens": len(wanted.tokens),
        "tokenizer": tokenizer,
        "template": checkpoint.template_digest.hex(),
    }
    return {"model": base, "prompt": list(wanted.tokens), "max_tokens": 1, PARAMS: {FIELD: {CAPTURE: capture}}}


def _words(answer: Any) -> str:
    error = answer.get("error") if isinstance(answer, dict) else None
    return repr(error.get("message") if isinstance(error, dict) else answer)[:500]
