"""What the proxy knows of its engine: the models it serves, their checkpoints, and what it has been seen to do.

Everything is asked of the engine, nothing is configured but where files lie. It is asked anew after a lost connection,
and from time to time, since another engine may have taken its place.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unhitch.errors import CheckpointError, EngineError, EngineUnavailable, MitigationUnavailable, ModelNotFound
from unhitch.evidence.served import Identified, identified
from unhitch.neighbours.nearest import nearest
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation
from unhitch.states.fingerprint import is_adapter
from unhitch_server.checkpoints import Checkpoints
from unhitch_server.config import Config
from unhitch_server.routes.probing import RouteProbes
from unhitch_server.states.customer import Customer
from unhitch_server.states.desk import StateDesk
from unhitch_server.upstream.connection import Upstream

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
        files: Path or hub id of its tokenizer and template; an adapter has those of its base.
        root: Where its own weights lie, as the engine says.
        base: The served name of what it sits on, where it is an adapter.
        base_files: Path or hub id of what it sits on, where it is an adapter.
    """

    name: str
    files: str
    root: str
    base: str | None = None
    base_files: str | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """A model whose mitigation has been seen to work.

    Args:
        model: As the engine served it then.
        checkpoint: Its files.
        checked: When, by the monotonic clock, in seconds.
        identified: What identifies it, as its files were then.
    """

    model: ServedModel
    checkpoint: Checkpoint
    checked: float
    identified: Identified

    @property
    def customer(self) -> Customer:
        """The model for whoever serves requests."""
        model, found = self.model, self.identified
        return Customer(model.name, self.checkpoint, model.root, model.base, found.identity, found.reason)


class Engine:
    """Models, checkpoints and probes of one engine.

    Args:
        config: Gives where checkpoints and the template lie, if they are not where the engine says.
        upstream: The connection; entered before anything is asked.
    """

    def __init__(self, config: Config, upstream: Upstream) -> None:
        self._config = config
        self._upstream = upstream
        self._listing: asyncio.Task[dict[str, ServedModel]] | None = None
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._opening = asyncio.Lock()
        self._opened = Checkpoints(config.chat_template)
        self._checkpoints: dict[str, Checkpoint] = {}
        self._prepared: dict[str, Prepared] = {}
        self._first: str | None = None
        self.suspects: set[str] = set()
        """Models of which a sampled request was rendered otherwise than by the engine."""
        self.routes = RouteProbes(self._ask, config, config.recheck_seconds)
        """Whether each route takes token ids."""
        self.states = StateDesk(config, upstream)
        """What the engine serves from states."""

    def forget(self) -> None:
        """Has everything asked anew before the next mitigated request; called when a connection was lost."""
        self._prepared = {}
        self._checkpoints = {}
        self._first = None
        self.suspects = set()
        self.routes.forget()
        self.states.forget()

    async def models(self) -> dict[str, ServedModel]:
        """What the engine serves now, by name, in its order; callers at the same time share one request.

        Raises:
            EngineError: The engine is down, or answers what is no list of models.
        """
        if self._listing is None or self._listing.done():
            self._listing = asyncio.create_task(self._list())
        return await asyncio.shield(self._listing)

    async def customer(self, model: str | None) -> Customer:
        """A model whose mitigation has been seen to work.

        Args:
            model: The name that the request gave; None is the engine's first, as vLLM has it.

        Raises:
            ModelNotFound: The engine serves no such model.
            MitigationUnavailable: Its files cannot be read here, the engine renders otherwise than they do, or the
                engine does not take token ids.
            EngineError: The engine is down.
        """
        name = model if model is not None else self._first
        known = self._prepared.get(name) if name is not None else None
        if known is None or time.monotonic() - known.checked > self._config.recheck_seconds:
            known = await self._prepare(name)
        return known.customer

    async def compare(self, name: str, body: Mapping[str, Any], ours: Sequence[int]) -> None:
        """Has the engine render the messages, and compares.

        Args:
            name: The served model, for the message.
            body: A body for the engine's /tokenize.
            ours: Token ids as rendered here.

        Raises:
            MitigationUnavailable: The two differ; the message says where.
            EngineError: The engine is down or cannot tell.
        """
        status, answer = await self._ask("POST", "/tokenize", body)
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
            "--chat-template or --default-chat-template-kwargs, give the proxy the same; else see that both read one "
            "model.",
            param="model",
        )

    async def _prepare(self, name: str | None) -> Prepared:
        models = await self.models()
        if name is None:
            name = next(iter(models), "")
        if name not in models:
            raise ModelNotFound(f"no model is named {name!r}; the engine serves: {', '.join(models)}", param="model")
        async with self._locks[name]:
            known = self._prepared.get(name)
            same = known is not None and known.model == models[name]
            if known is not None and same and time.monotonic() - known.checked <= self._config.recheck_seconds:
                return known  # another request did it while this one waited
            generation = self._prepared
            checkpoint = await self._open(models[name])
            await self._check_rendering(name, checkpoint)
            if not same:  # each answer's echo tells whether the engine still takes token ids
                await self._check_token_ids(name, checkpoint)
            earlier = known.identified if known is not None and same else None
            what = await asyncio.to_thread(_identified, models[name], checkpoint, earlier)
            found = Prepared(models[name], checkpoint, time.monotonic(), what)
            if self._prepared is generation:  # all was not forgotten meanwhile
                self._prepared[name] = found
                self._first = next(iter(models))
            return found

    async def _list(self) -> dict[str, ServedModel]:
        status, body = await self._ask("GET", "/v1/models")
        if status == 401:
            raise EngineError(
                "the engine wants a key for the proxy's own probes: set UNHITCH_UPSTREAM_API_KEY to its --api-key"
            )
        try:
            cards = {card["id"]: card for card in body["data"]}
            return {name: self._served(name, cards) for name in cards}
        except (TypeError, KeyError, AttributeError) as error:
            raise EngineError(
                f"the engine's /v1/models answered {status} and no list of models; is it vLLM?"
            ) from error

    def _served(self, name: str, cards: Mapping[str, Mapping[str, Any]]) -> ServedModel:
        base: str | None = cards[name].get("parent")
        root = str(cards[name].get("root") or name)
        base_files = self._files(base, cards) if base is not None and base in cards else base
        return ServedModel(name, self._files(name, cards), root, base, base_files)

    def _files(self, name: str, cards: Mapping[str, Mapping[str, Any]]) -> str:
        """Where the tokenizer and template of a served model lie: those of the base for an adapter."""
        configured = self._config.checkpoints
        parent: Any = cards[name].get("parent")
        owner: str = parent if parent in cards and name not in configured else name
        return configured.get(owner) or str(cards[owner].get("root") or owner)

    async def _open(self, model: ServedModel) -> Checkpoint:
        try:
            async with self._opening:
                if model.files not in self._checkpoints:  # adapters share the checkpoint of their base
                    self._checkpoints[model.files] = await asyncio.to_thread(self._opened.open, model.files)
                return self._checkpoints[model.files]
        except CheckpointError as error:
            raise MitigationUnavailable(
                f"the files of {model.name!r} cannot be read where the proxy runs: {error.message} "
                f"Give their place with --checkpoint {model.name}=PATH.",
                param="model",
            ) from error

    async def _check_rendering(self, name: str, checkpoint: Checkpoint) -> None:
        for messages in PROBE_CONVERSATIONS:
            body: dict[str, Any] = {"model": name, "messages": messages}
            try:
                conversation = self._config.conversation(body, checkpoint.content_format)
                ours = (await asyncio.to_thread(render, checkpoint, conversation)).token_ids
            except MitigationUnavailable:
                continue  # a template without a system role, say; a request of that kind gets this error itself
            await self.compare(name, body, ours)

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
        status, answer = await self._ask("POST", "/v1/chat/completions", body)
        if status != 200 or not isinstance(answer, dict):
            raise EngineError(f"the engine answered the probe of {name!r} with {status} {answer!r}")
        if answer.get("prompt_token_ids") != sent:
            _, version = await self._ask("GET", "/version")
            raise MitigationUnavailable(
                "the engine does not take token ids on the chat route (kv_transfer_params.prompt_token_ids), so no "
                f"edit can reach it; vLLM 0.32 or later does. The engine says of its version: {version!r}.",
                param="model",
            )

    async def _ask(self, method: str, target: str, body: object = None) -> tuple[int, Any]:
        try:
            return await self._upstream.ask(method, target, body)
        except EngineUnavailable:
            self.forget()
            raise


def _identified(model: ServedModel, checkpoint: Checkpoint, earlier: Identified | None) -> Identified:
    """What identifies a model, or why that cannot be told here."""
    try:
        here = model.base is None or is_adapter(model.files)  # an adapter's files are its base's, unless set otherwise
    except CheckpointError:
        here = False
    found = identified(checkpoint, model.files if here else model.root, model.base_files, earlier)
    if found.identity is not None or found is earlier:
        return found
    where = f"its files cannot be read where the proxy runs: {found.reason} The engine says that they lie in "
    return Identified(None, f"{where}{model.root!r}.", found.stamp)


def warm(checkpoint: Checkpoint) -> None:
    """Looks up the neighbours that `perturb` needs for the default prefix; seconds of work for a large vocabulary.

    Raises:
        CheckpointError: The input embeddings cannot be read.
    """
    hello = {"messages": PROBE_CONVERSATIONS[0]}
    prompt = render(checkpoint, Conversation.from_body(hello, content_format=checkpoint.content_format))
    nearest(checkpoint.path, checkpoint.vocabulary_size, (*prompt.prefix, *prompt.postfix))
