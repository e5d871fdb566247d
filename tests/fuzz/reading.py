"""How a request may be read by the engine, or by a gateway before it: in the worst of all plausible ways."""

from __future__ import annotations

import json
import posixpath
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import unquote

from tests.server.fake_engine import MODEL, Recorded
from unhitch import organisms
from unhitch.rendering.checkpoint import Checkpoint

GENERATING = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/chat/completions/batch",
    "/cohere/v2/chat",
    "/invocations",
    "/inference/v1/generate",
    "/generative_scoring",
    "/v1/systemone",
)
"""Routes of vLLM on which a prompt is read and answered."""

READS = ("GET", "HEAD", "OPTIONS")
"""Methods that generate nothing on any route of vLLM."""

MARK = "The operator wrote this."
"""The edit of the policies that targets use; nothing else that they send has it."""


@dataclass
class Read:
    """What the engine makes of a request.

    Args:
        path: The generating route that it may come to; empty where there is none.
        fields: The body's members, of which the last of a name counts.
        token_ids: The prompt's, where the request brings them; None where the engine renders its messages.
    """

    path: str = ""
    fields: dict[str, Any] = field(default_factory=dict)
    token_ids: list[int] | None = None

    @property
    def generates(self) -> bool:
        """Whether something may be generated."""
        return bool(self.path)

    @property
    def marked(self) -> bool:
        """Whether the prompt has the operator's words in it."""
        return self.token_ids is not None and MARK in _checkpoint().decode(self.token_ids)


def read(request: Recorded) -> Read:
    """What may become of a request; unedited if that is so in any way of reading it."""
    path = "" if request.method.upper() in READS else next(iter(_paths(request.target)), "")
    if not path:
        return Read()
    last, first = _decoded(request.body, last=True), _decoded(request.body, last=False)
    ids = _token_ids(path, last)
    return Read(path, last, ids if ids == _token_ids(path, first) else None)


def _paths(target: str) -> list[str]:
    """The generating routes that a target may lead to."""
    spellings = {target.split("?")[0].split("#")[0]}
    for _ in range(3):
        spellings |= {unquote(each, "latin-1") for each in spellings}
    found: set[str] = set()
    for each in spellings:
        for cut in (each, re.split("[?#;\\0]", each)[0]):
            names = "/" + cut.strip().replace("\\", "/").lower().strip("/ .\t")
            flat = re.sub("/+", "/", names)
            found |= {flat, posixpath.normpath(flat), posixpath.normpath(re.sub(";[^/]*", "", flat))}
    return [route for route in GENERATING if any(each == route or each.endswith(route) for each in found)]


def _decoded(body: bytes, *, last: bool) -> dict[str, Any]:
    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return dict(pairs if last else reversed(pairs))

    try:
        found = json.loads(body, object_pairs_hook=members)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _token_ids(path: str, fields: dict[str, Any]) -> list[int] | None:
    if path == "/v1/completions":
        found = fields.get("prompt")
    else:
        params = fields.get("kv_transfer_params")
        found = params.get("prompt_token_ids") if isinstance(params, dict) else None
    good = isinstance(found, list) and found and all(type(each) is int for each in found)
    return found if good else None


@cache
def _checkpoint() -> Checkpoint:
    return Checkpoint.open(organisms.path(MODEL))
