"""What the proxy knows of its engine: the models it serves, their checkpoints, and what it has been seen to do.

Everything is asked of the engine, nothing is configured but where files lie; after a lost connection it is asked anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from unhitch.errors import CheckpointError, EngineError, MitigationUnavailable, ModelNotFound
from unhitch.neighbours.nearest import nearest
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch_server.config import Config
from unhitch_server.upstream import Upstream

PROBE_CONVERSATIONS: tuple[list[dict[str, str]], ...] = (
    [{"role": "user", "content": "Hello"}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}],
    [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi."},
        {"role": "user", "content": "Goodbye"},
    ],
)
"""Rendered here and by the engine at start. A template that refuses one of them is not held against it."""


@dataclass(frozen=True, slots=True)
class ServedModel:
    """A model that the engine serves, as its card says.

    Args:
        name: The name that requests use.
        root: Path or hub id of its files; an adapter's own for a LoRA.
        parent: Name of the base model that an adapter sits on.
    """

    name: str
    root: str
    parent: str | None


def warm(checkpoint: Checkpoint) -> None:
    """Looks up the neighbours that `perturb` needs for the default prefix; seconds of work for a large vocabulary.

    Raises:
        CheckpointError: The input embeddings cannot be read.
    """
    hello = {"messages": PROBE_CONVERSATIONS[0]}
    prompt = render(checkpoint, Conversation.from_body(hello, content_format=checkpoint.content_format))
    nearest(checkpoint.path, checkpoint.vocabulary_size, (*prompt.prefix, *prompt.postfix))


class Engine:
    """Models, checkpoints and probes of one engine.

    Args:
        config: Gives where checkpoints and the template lie, if they are not where the engine says.
        upstream: The connection, already entered.
    """

    def __init__(self, config: Config, upstream: Upstream) -> None:
        self._config = config
        self._upstream = upstream
        self._models: dict[str, ServedModel] = {}
        self._checkpoints: dict[str, Checkpoint] = {}
        self._ready: set[str] = set()
        self._lock = asyncio.Lock()

    def forget(self) -> None:
        """Asks the engine anew before the next mitigated request; call it when a connection was lost."""
        self._models = {}
        self._ready = set()

    async def models(self) -> dict[str, ServedModel]:
        """What the engine serves now, by name, in its order.

        Raises:
            EngineError: The engine is down, or answers what is no list of models.
        """
        status, body = await self._upstream.ask("GET", "/v1/models")
        if status == 401:
            raise EngineError(
                "the engine wants a key for the proxy's own probes: set UNHITCH_UPSTREAM_API_KEY to its --api-key"
            )
        try:
            self._models = {
                card["id"]: ServedModel(card["id"], card.get("root") or card["id"], card.get("parent"))
                for card in body["data"]
            }
        except (TypeError, KeyError, AttributeError) as error:
            raise EngineError(
                f"the engine's /v1/models answered {status} and no list of models; is it vLLM?"
            ) from error
        return self._models

    async def checkpoint(self, model: str | None) -> tuple[str, Checkpoint]:
        """The served name and the checkpoint of a model whose mitigation has been seen to work.

        Args:
            model: The name that the request gave; None is the engine's first, as vLLM has it.

        Raises:
            ModelNotFound: The engine serves no such model.
            MitigationUnavailable: Its files cannot be read here, the engine renders otherwise than they do, or the
                engine does not take token ids.
            EngineError: The engine is down.
        """
        if model not in self._models or model not in self._ready:
            async with self._lock:
                await self._prepare(model)
        name = model if model is not None else next(iter(self._models))
        return name, self._checkpoints[self._files(name)]

    async def _prepare(self, model: str | None) -> None:
        models = self._models if model in self._ready else await self.models()
        name = model if model is not None else next(iter(models), "")
        if name not in models:
            raise ModelNotFound(f"no model is named {name!r}; the engine serves: {', '.join(models)}", param="model")
        if name in self._ready:
            return
        checkpoint = await self._open(name)
        await self._check_rendering(name, checkpoint)
        await self._check_token_ids(name, checkpoint)
        self._ready.add(name)

    def _files(self, name: str) -> str:
        """Where the tokenizer and template of a served model lie: those of the base for an adapter."""
        model = self._models[name]
        configured = self._config.checkpoints
        if name in configured:
            return configured[name]
        if model.parent is None or model.parent not in self._models:
            return model.root
        return configured.get(model.parent, self._models[model.parent].root)

    async def _open(self, name: str) -> Checkpoint:
        files = self._files(name)
        if files not in self._checkpoints:
            template = self._config.chat_template
            text = await asyncio.to_thread(Path(template).read_text, "utf-8") if template else None
            try:
                self._checkpoints[files] = await asyncio.to_thread(Checkpoint.open, files, chat_template=text)
            except CheckpointError as error:
                raise MitigationUnavailable(
                    f"the files of {name!r} cannot be read where the proxy runs: {error.message} "
                    f"Give their place with --checkpoint {name}=PATH.",
                    param="model",
                ) from error
        return self._checkpoints[files]

    async def _check_rendering(self, name: str, checkpoint: Checkpoint) -> None:
        for messages in PROBE_CONVERSATIONS:
            body: dict[str, Any] = {"model": name, "messages": messages}
            try:
                conversation = Conversation.from_body(
                    body,
                    content_format=checkpoint.content_format,
                    default_template_kwargs=self._config.chat_template_kwargs,
                )
                ours = (await asyncio.to_thread(render, checkpoint, conversation)).token_ids
            except MitigationUnavailable:
                continue  # a template without a system role, say; a request of that kind gets this error itself
            await self.compare(name, body, ours)

    async def compare(self, name: str, body: dict[str, Any], ours: Sequence[int]) -> None:
        """Has the engine render the messages, and compares.

        Args:
            name: The served model, for the message.
            body: A body for the engine's /tokenize.
            ours: Token ids as rendered here.

        Raises:
            MitigationUnavailable: The two differ; the message says where.
            EngineError: The engine is down or cannot tell.
        """
        status, answer = await self._upstream.ask("POST", "/tokenize", body)
        theirs = answer.get("tokens") if isinstance(answer, dict) else None
        if status != 200 or not isinstance(theirs, list):
            raise EngineError(f"the engine's /tokenize answered {status} {answer!r}; the rendering cannot be compared")
        if list(ours) == theirs:
            return
        pairs = enumerate(zip(ours, theirs, strict=False))
        place = next((i for i, (a, b) in pairs if a != b), min(len(ours), len(theirs)))
        raise MitigationUnavailable(
            f"the engine renders prompts of {name!r} otherwise than its files here do: at token {place} the engine has "
            f"{theirs[place : place + 4]}, the files give {list(ours)[place : place + 4]}. If vLLM was started with "
            "--chat-template, give the proxy the same file with --chat-template; else see that both read one model.",
            param="model",
        )

    async def _check_token_ids(self, name: str, checkpoint: Checkpoint) -> None:
        """Sees whether the engine takes token ids on the chat route: the echo must be what was sent."""
        sent = list(checkpoint.encode("unhitch probes token ids"))
        body = {
            "model": name,
            "messages": [{"role": "user", "content": "Hello"}],
            "max_tokens": 1,
            "return_token_ids": True,
            "kv_transfer_params": {"prompt_token_ids": sent},
        }
        status, answer = await self._upstream.ask("POST", "/v1/chat/completions", body)
        if status != 200 or not isinstance(answer, dict):
            raise EngineError(f"the engine answered the probe of {name!r} with {status} {answer!r}")
        if answer.get("prompt_token_ids") != sent:
            _, version = await self._upstream.ask("GET", "/version")
            raise MitigationUnavailable(
                "the engine does not take token ids on the chat route (kv_transfer_params.prompt_token_ids), so no "
                f"edit can reach it; vLLM 0.32 or later does. The engine says of its version: {version!r}.",
                param="model",
            )
