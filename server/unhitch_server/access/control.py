"""Who may use the control routes: whoever has the control key, however the path is written."""

from __future__ import annotations

import hashlib
import hmac
import json
import posixpath
import re
from urllib.parse import quote, unquote

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from unhitch.errors import InvalidKey, InvalidRequest, NotPermitted, UnhitchError
from unhitch_server.access.credentials import presented
from unhitch_server.reply import Reply

SETTING = "UNHITCH_CONTROL_KEY"

OWN = frozenset({"unhitch", "ui", "metrics"})
"""First names of the paths of control routes."""

ENGINE_ADMINISTRATION = frozenset(
    {
        "abort_requests",
        "collective_rpc",
        "fault_tolerance",
        "finish_weight_update",
        "get_world_size",
        "inference/v1/abort_requests",
        "init_weight_transfer_engine",
        "is_paused",
        "is_scaling_elastic_ep",
        "is_sleeping",
        "kv_event_sources",
        "pause",
        "release_kv_cache_memory",
        "reset_encoder_cache",
        "reset_mm_cache",
        "reset_prefix_cache",
        "resume",
        "scale_elastic_ep",
        "server_info",
        "shutdown_weight_transfer_engine",
        "sleep",
        "start_draft_weight_update",
        "start_profile",
        "start_weight_update",
        "stop_profile",
        "update_weight_version",
        "update_weights",
        "v1/load_lora_adapter",
        "v1/unload_lora_adapter",
        "wake_up",
        "weight_checker",
        "weight_info",
    }
)
"""vLLM's routes that stop, change or inspect the engine for everybody; several ask for no key of the engine's."""

OPERATOR_MARK = "unhitch.operator"
"""Member of ASGI's scope: the request is on a control route, and came with the control key."""

SHORTEST_KEY = 16

_DECODINGS = 3  # the engine decodes a path once; a gateway before it may do so, too


def is_control(raw_path: bytes) -> bool:
    """Whether the proxy, the engine, or a gateway between could take a path for a control route.

    Args:
        raw_path: As it came, without the query.
    """
    path = raw_path.decode("latin-1")
    for _ in range(_DECODINGS):
        path = unquote(path, "latin-1")
    names = [re.split("[?#;]", name)[0].strip() for name in re.split(r"[/\\]+", path.lower())]
    as_it_stands = [name for name in names if name not in ("", ".")]
    resolved = posixpath.normpath("/" + "/".join(as_it_stands)).strip("/").split("/")
    return any(
        each[:1] and (each[0] in OWN or any("/".join(each[:n]) in ENGINE_ADMINISTRATION for n in (1, 2, 3)))
        for each in (as_it_stands, resolved)
    )


class ControlKey:
    """The operator's key, of which only the hash is kept here.

    Args:
        key: Or None where none is set.

    Raises:
        InvalidRequest: It is too short to be one, or cannot stand in a header.
    """

    def __init__(self, key: str | None) -> None:
        if key is not None and (len(key) < SHORTEST_KEY or not re.fullmatch(r"[!-~]+", key)):
            raise InvalidRequest(
                f"{SETTING} has {len(key)} characters; a control key has {SHORTEST_KEY} or more, all of "
                "them ASCII and none a space"
            )
        self._digest = None if key is None else _digest(key.encode())

    @property
    def is_set(self) -> bool:
        """Whether there is one."""
        return self._digest is not None

    def matches(self, given: bytes | None) -> bool:
        """Whether this key was given; takes the same time whatever was."""
        return self._digest is not None and hmac.compare_digest(self._digest, _digest(given or b""))


class ControlGuard:
    """ASGI middleware before all routes: control routes want the control key.

    Without a control key they are open, unless client keys are on: then they are closed. `/healthz` stays open, and
    `/readyz` keeps its status, but says why only to whoever has the key.

    Args:
        app: What it guards.
        control_key: The operator's key.
        client_keys: Whether clients need keys.
    """

    def __init__(self, app: ASGIApp, control_key: ControlKey, client_keys: bool) -> None:
        self._app = app
        self._key = control_key
        self._closed = client_keys or control_key.is_set

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serves one request."""
        if scope["type"] not in ("http", "websocket") or not self._closed:
            await self._app(scope, receive, send)
            return
        raw_path: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
        if is_control(raw_path):
            try:
                self._check(scope)
            except UnhitchError as error:
                await _refuse(error, scope, send)
                return
            scope[OPERATOR_MARK] = True
        elif scope["path"] == "/readyz" and not self._given(scope):
            send = _without_details(send)
        await self._app(scope, receive, send)

    def _check(self, scope: Scope) -> None:
        if not self._key.is_set:
            raise NotPermitted(
                f"control routes are closed: clients need keys here, and no control key is set. Set {SETTING}, "
                "and send it as `Authorization: Bearer KEY`."
            )
        if not self._given(scope):
            raise InvalidKey("control routes want the control key; send it as `Authorization: Bearer KEY`")

    def _given(self, scope: Scope) -> bool:
        try:
            return self._key.matches(presented(scope["headers"]))
        except InvalidKey:
            return False


async def _refuse(error: UnhitchError, scope: Scope, send: Send) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": "control routes want the control key"})
    else:
        await Reply(send).error(error, [])


def _without_details(send: Send) -> Send:
    """Has an answer say its status and nothing else."""

    async def short(message: Message) -> None:
        if message["type"] != "http.response.start":
            return
        status = message["status"]
        body = json.dumps({"status": "ready" if status < 400 else "not ready"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return short


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
