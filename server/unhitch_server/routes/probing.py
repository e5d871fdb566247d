"""Sees that an engine takes token ids on a route whose answers alone do not prove it, or prove it too late."""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from unhitch.errors import EngineError, MitigationUnavailable, MitigationUnconfirmed
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch_server.config import EngineRendering
from unhitch_server.routes.request import PROBE_MESSAGES, GenerationRequest

Ask = Callable[[str, str, object], Awaitable[tuple[int, Any]]]
"""Sends method, target and a JSON body to the engine, and gives status and decoded answer."""

_NO_SUCH_ROUTE = (404, 405, 501)


class RouteProbes:
    """Which routes of one engine have been seen to take token ids, by model.

    A route is asked once with token ids of another number than its messages have, for one token. What it answers must
    be confirmed as any answer of that route. This shows that the engine reads ids on this route, as it is started now;
    it is shown anew after `fresh_seconds`, since another engine may have taken its place.

    Args:
        ask: Asks the engine.
        rendering: How it renders.
        fresh_seconds: How long what was seen is taken to stay so.
    """

    def __init__(self, ask: Ask, rendering: EngineRendering, fresh_seconds: float) -> None:
        self._ask = ask
        self._rendering = rendering
        self._fresh = fresh_seconds
        self._seen: dict[tuple[str, str], float] = {}
        self._locks: defaultdict[tuple[str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    def forget(self) -> None:
        """Has every route asked anew before the next request to it."""
        self._seen = {}

    async def check(self, route: type[GenerationRequest], model: str, checkpoint: Checkpoint) -> None:
        """Probes a route, unless that was done lately or each of its answers proves itself.

        Args:
            route: The route.
            model: A name that the engine serves.
            checkpoint: Its files, which are known to render as the engine does.

        Raises:
            MitigationUnavailable: The engine does not take token ids there.
            EngineError: The engine is down, or answers the probe with an error.
        """
        key = (route.path, model)
        if route.probing((0,)) is None or self._known(key):
            return
        async with self._locks[key]:
            if self._known(key):  # another request saw to it while this one waited
                return
            seen = self._seen
            await self._probe(route, model, await asyncio.to_thread(self._token_ids, checkpoint))
            if self._seen is seen:  # not forgotten meanwhile
                seen[key] = time.monotonic()

    def _known(self, key: tuple[str, str]) -> bool:
        return key in self._seen and time.monotonic() - self._seen[key] <= self._fresh

    def _token_ids(self, checkpoint: Checkpoint) -> tuple[int, ...]:
        body = {"messages": list(PROBE_MESSAGES)}
        rendered = render(checkpoint, self._rendering.conversation(body, checkpoint.content_format)).token_ids
        sent = checkpoint.encode("unhitch probes token ids")
        return sent if len(sent) != len(rendered) else (*sent, sent[-1])

    async def _probe(self, route: type[GenerationRequest], model: str, token_ids: tuple[int, ...]) -> None:
        status, answer = await self._ask("POST", route.path, {"model": model, **(route.probing(token_ids) or {})})
        if status in _NO_SUCH_ROUTE:
            raise MitigationUnavailable(
                f"the engine has no route {route.path} for {model!r}: it answered {status} {answer!r}. Use another "
                "route, such as /v1/chat/completions."
            )
        if status != 200 or not isinstance(answer, dict):
            raise EngineError(f"the engine answered the probe of {route.path} for {model!r} with {status} {answer!r}")
        try:
            route.probed(token_ids).settle_whole(json.dumps(answer).encode("utf-8"))
        except MitigationUnconfirmed as error:
            raise MitigationUnavailable(
                f"the engine does not take token ids on {route.path} (kv_transfer_params.prompt_token_ids), so no edit "
                "can reach it there; vLLM 0.32 or later does, for models that it renders by a chat template. Use "
                "/v1/chat/completions, or turn the mitigation off."
            ) from error
