"""The API server's side: a header on every answer, and the routes that list states."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unhitch.engine.connector.model import ModelShape, serves_overlays
from unhitch.engine.connector.options import CONNECTOR, memory_bytes
from unhitch.errors import StateError, UnhitchError
from unhitch.states import fingerprint
from unhitch.states.file import is_id, path, read_header, verify
from unhitch.states.patch import CONNECTOR_HEADER, PROTOCOL, STATES_ROUTE

_HEADER = (CONNECTOR_HEADER.lower().encode(), str(PROTOCOL).encode())
_MODELS_ROUTE = "/v1/models"


class StatesMiddleware:
    """ASGI middleware of vLLM's server (`--middleware`).

    An answer carries `Unhitch-Connector` only where this very server's engine runs the connector, which serves a
    request that names states patched, or fails it. Beam search is the exception: vLLM makes requests of its own for its
    beams, without our words, so whoever names states must not ask for it (the proxy refuses it).

    Args:
        app: vLLM's application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._listing = Listing()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves the routes of states, and marks the answers of all others."""
        folder = _folder(scope) if scope["type"] == "http" else None
        if folder is None:
            await self._app(scope, receive, send)
            return

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), _HEADER]}
            await send(message)

        if scope["method"] == "GET" and _is_states_route(scope["path"]):
            await self._states(folder, scope, receive, marked)
        else:
            await self._app(scope, receive, marked)

    async def _states(self, folder: Path, scope: Scope, receive: Receive, send: Send) -> None:
        # Who may not list the models may not list states either, so the engine is asked for them with the same headers.
        status, models = await _asked(
            self._app, {**scope, "path": _MODELS_ROUTE, "raw_path": _MODELS_ROUTE.encode()}, receive
        )
        if status != 200:
            await _answer(send, status, _encoded(models))
            return
        state = scope["path"].removeprefix(STATES_ROUTE).strip("/")
        try:
            if state:
                body = await asyncio.to_thread(self._listing.one, folder, state)
            else:
                body = await asyncio.to_thread(self._listing.all, folder, models["data"], _vllm_config(scope))
            await _answer(send, 200, await asyncio.to_thread(_encoded, body))
        except StateError as error:
            missing = is_id(state) and not path(folder, state).exists()
            await _answer(send, 404 if missing else 422, _encoded(error.to_openai()))


class Listing:
    """What the folder of states holds; headers are read once, since files do not change."""

    def __init__(self) -> None:
        self._shape: ModelShape | None = None
        self._entries: dict[str, dict[str, Any]] = {}
        self._digests: dict[tuple[str, tuple[tuple[str, int, int], ...]], str] = {}

    def all(self, folder: Path, models: list[dict[str, Any]], vllm_config: Any) -> dict[str, Any]:
        """The body of the route: models with their digests, and the states that fit the served model.

        Args:
            folder: Where states lie.
            models: Cards of the engine's own list of models.
            vllm_config: Of the engine.
        """
        shape = self._shape = self._shape or ModelShape.of(vllm_config.model_config)
        entries, problems = {}, []
        for file in sorted(folder.glob("*.safetensors")):
            try:
                entries[file.stem] = self._entries.get(file.stem) or self._entry(folder, file.stem, shape)
            except StateError as error:
                problems.append({"file": file.name, "message": error.message})
        self._entries = entries
        roots = {card["id"]: card.get("root") or card["id"] for card in models}
        return {
            "object": "list",
            "protocol": PROTOCOL,
            "folder": str(folder),
            "overlays": serves_overlays(vllm_config),
            "memory_bytes": memory_bytes(vllm_config.kv_transfer_config.kv_connector_extra_config),
            "models": [
                {
                    "id": card["id"],
                    "digest": self._digest(roots[card["id"]], problems),
                    "base": card.get("parent"),
                    "base_digest": self._digest(roots.get(card.get("parent")), problems),
                }
                for card in models
            ],
            "data": list(entries.values()),
            "problems": problems,
        }

    def one(self, folder: Path, state: str) -> dict[str, Any]:
        """One state's entry, once its bytes are verified.

        Raises:
            StateError: It is missing or damaged.
        """
        verify(folder, state)
        return self._entry(folder, state)

    def _entry(self, folder: Path, state: str, shape: ModelShape | None = None) -> dict[str, Any]:
        header = read_header(path(folder, state))
        if shape is not None:
            shape.check(state, header)
        return {"id": state, "header": header.model_dump(mode="json")}

    def _digest(self, root: str | None, problems: list[dict[str, str]]) -> str | None:
        """Digest of a served model; None, with a problem noted, where its files cannot be read."""
        if root is None:
            return None
        as_it_is = root, _stamps(root)  # adapters are loaded anew from where they were
        if as_it_is not in self._digests:
            try:
                self._digests[as_it_is] = fingerprint.model_digest(root)
            except UnhitchError as error:
                problems.append({"file": root, "message": error.message})
        return self._digests.get(as_it_is)


def _stamps(root: str) -> tuple[tuple[str, int, int], ...]:
    """What changes when weights in a folder do: name, time and size of each file; nothing for a hub id."""
    files = sorted(Path(root).glob("*.safetensors"))
    return tuple((file.name, stat.st_mtime_ns, stat.st_size) for file in files for stat in (file.stat(),))


def _is_states_route(path_: str) -> bool:
    return path_ == STATES_ROUTE or path_.startswith(f"{STATES_ROUTE}/")


def _folder(scope: Scope) -> Path | None:
    """Where the engine's connector finds states; None where the engine does not run it."""
    config = getattr(_vllm_config(scope), "kv_transfer_config", None)
    if config is None or config.kv_connector != CONNECTOR:
        return None
    return Path(config.kv_connector_extra_config["folder"])


def _vllm_config(scope: Scope) -> Any:
    return getattr(scope["app"].state, "vllm_config", None)


async def _asked(app: ASGIApp, scope: Scope, receive: Receive) -> tuple[int, Any]:
    """Status and decoded body of an answer of vLLM's own."""
    status, body = 500, bytearray()

    async def keep(message: Message) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        elif message["type"] == "http.response.body":
            body.extend(message.get("body", b""))

    await app(scope, receive, keep)
    return status, json.loads(bytes(body) or b"null")


def _encoded(body: object) -> bytes:
    return json.dumps(body).encode()


async def _answer(send: Send, status: int, content: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
