"""Compares a sample of renderings with the engine's, beside the requests' path."""

from __future__ import annotations

import asyncio
import itertools
import logging
from typing import Any

from unhitch.errors import EngineError, MitigationUnavailable
from unhitch.mitigation import Mitigated
from unhitch_server.engine import Engine

_log = logging.getLogger(__name__)

TOKENIZE_FIELDS = (
    "messages",
    "tools",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "chat_template_kwargs",
)
"""What the engine's /tokenize takes of a chat body."""

OTHER_TEMPLATE_FIELDS = ("documents", "reasoning_effort")
"""What reaches the template on the chat route only; a body that has one cannot be compared."""


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
        self._tasks: set[asyncio.Task[None]] = set()

    async def check(self, model: str, fields: dict[str, Any], mitigated: Mitigated) -> None:
        """Takes the request into the sample when its turn has come, beside its path unless the model is suspect.

        Args:
            model: Its served name.
            fields: The decoded body.
            mitigated: Holds the prompt as rendered here, before the edit.

        Raises:
            MitigationUnavailable: The model is suspect, and the engine renders this request otherwise.
        """
        suspect = model in self._engine.suspects
        if not suspect and next(self._count) % self._every:
            return
        other = [name for name in OTHER_TEMPLATE_FIELDS if fields.get(name) is not None]
        if other and suspect:
            raise MitigationUnavailable(
                f"the engine renders some prompts of {model!r} otherwise than its files here do, and with {other[0]!r} "
                "set the two cannot be compared. Leave it out, or see that proxy and engine read the same model.",
                param=other[0],
            )
        if other:
            return
        body = {name: fields[name] for name in TOKENIZE_FIELDS if name in fields} | {"model": model}
        if mitigated.before.conversation.tools is None:  # the engine may leave out those that are not to be called
            body.pop("tools", None)
        if suspect:
            await self._engine.compare(model, body, mitigated.before.token_ids)
            return
        task = asyncio.create_task(self._sample(model, body, mitigated.before.token_ids))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Ends the comparisons under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _sample(self, model: str, body: dict[str, Any], token_ids: tuple[int, ...]) -> None:
        try:
            await self._engine.compare(model, body, token_ids)
        except MitigationUnavailable as error:
            self._engine.suspects.add(model)
            _log.error("every mitigated request of %s is compared from now on: %s", model, error.message)
        except EngineError as error:
            _log.warning("a rendering could not be compared with the engine's: %s", error.message)
