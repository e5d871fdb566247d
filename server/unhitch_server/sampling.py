"""Compares a sample of renderings with the engine's, beside the requests' path."""

from __future__ import annotations

import itertools
import logging
from typing import Any

from unhitch.errors import EngineError, MitigationUnavailable
from unhitch.rendering.prompt import Prompt
from unhitch_server.background import Background
from unhitch_server.engine import Engine
from unhitch_server.routes.request import GenerationRequest, Incomparable

_log = logging.getLogger(__name__)


class RenderingSampler:
    """Has the engine render one in `every` mitigated requests too.

    After a difference every request of that model is compared before it is served, so that just those which the
    engine renders otherwise are refused.

    Args:
        every: One in how many; the first is always one of them.
        engine: Renders.
    """

    def __init__(self, every: int, engine: Engine) -> None:
        self._every = every
        self._engine = engine
        self._count = itertools.count()
        self._beside = Background()

    async def check(self, model: str, request: GenerationRequest, prompt: Prompt) -> None:
        """Takes the request into the sample when its turn has come, beside its path unless the model is suspect.

        Args:
            model: Its served name.
            request: The body.
            prompt: As rendered here, before the edit.

        Raises:
            MitigationUnavailable: The model is suspect, and the engine renders this request otherwise.
        """
        suspect = model in self._engine.suspects
        if not suspect and next(self._count) % self._every:
            return
        try:
            tokenizing = request.tokenizing(prompt)
        except Incomparable as other:
            if not suspect:
                return
            raise MitigationUnavailable(
                f"the engine renders some prompts of {model!r} otherwise than its files here do, and with "
                f"{other.field!r} set the two cannot be compared. Leave it out, or see that proxy and engine read the "
                "same model.",
                param=other.field,
            ) from None
        if tokenizing is None:
            return
        body = {**tokenizing, "model": model}
        if suspect:
            await self._engine.compare(model, body, prompt.token_ids)
            return
        self._beside.start(self._sample(model, body, prompt.token_ids))

    async def close(self) -> None:
        """Ends the comparisons under way."""
        await self._beside.close()

    async def _sample(self, model: str, body: dict[str, Any], token_ids: tuple[int, ...]) -> None:
        try:
            await self._engine.compare(model, body, token_ids)
        except MitigationUnavailable as error:
            self._engine.suspects.add(model)
            _log.error("every mitigated request of %s is compared from now on: %s", model, error.message)
        except EngineError as error:
            _log.warning("a rendering could not be compared with the engine's: %s", error.message)
