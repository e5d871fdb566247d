"""What the routes of vLLM are to a policy that mitigates: mitigated, known to generate nothing, or refused.

Whatever is not listed counts as generating, so a route that a later vLLM adds is refused until somebody has looked at
it. Not listed on purpose, since the model reads a prompt there that nobody edits:

- `/v1/chat/completions/batch` and `/cohere/v2/chat`: chats, many at once and in another dialect;
- `/invocations`: any route of the engine, by the shape of the body;
- `/inference/v1/generate`: token ids, rendered elsewhere;
- `/generative_scoring` and `/v1/systemone`: the finetuned model's next token decides.

Nor are those that change the engine for everybody: adapters, weights, sleep, caches, profiles, other clients' requests.
An operator calls them on the engine itself, or with the mitigation off.
"""

from __future__ import annotations

import re
from typing import Literal

from unhitch_server.routes.table import ROUTES

RouteClass = Literal["mitigated", "generates", "passes"]

READ_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that generate nothing on any route of vLLM."""

POOLING, AUDIO, SCALE_OUT, COHERE = "a pooling model", "a model that transcribes", "--enable-scale-out", "Cohere's API"

PASSES: dict[str, str | None] = {
    "/tokenize": None,
    "/detokenize": None,
    "/ping": None,
    "/v1/messages/count_tokens": None,
    "/is_scaling_elastic_ep": None,
    "/v1/embeddings": POOLING,
    "/v2/embed": POOLING,
    "/pooling": POOLING,
    "/classify": POOLING,
    "/score": POOLING,
    "/v1/score": POOLING,
    "/rerank": POOLING,
    "/v1/rerank": POOLING,
    "/v2/rerank": POOLING,
    "/v1/audio/transcriptions": AUDIO,
    "/v1/audio/translations": AUDIO,
    "/v1/chat/completions/render": SCALE_OUT,
    "/v1/completions/render": SCALE_OUT,
    "/v1/messages/render": SCALE_OUT,
    "/v1/responses/render": SCALE_OUT,
    "/cohere/v2/chat/render": COHERE,
    "/v1/chat/completions/derender": SCALE_OUT,
    "/v1/completions/derender": SCALE_OUT,
}
"""Paths on which POST gives no text from a chat prompt; with each, what an engine must have to serve it, if anything.

Pooling models read chats, and give vectors, classes or scores of them. Render routes stop at token ids.
"""

PASSING_PATTERNS = (re.compile(r"/v1/responses/[A-Za-z0-9_-]+/cancel"),)
"""The same for paths that hold an id."""


def classify(method: str, path: str) -> RouteClass:
    """What a request is to a policy that mitigates.

    Only the exact spelling of a path is what it says: one with `//`, `/./`, `%2f`, another case or a slash at its end
    may reach any route of the engine, and so counts as generating.

    Args:
        method: HTTP method, in upper case.
        path: As it stands on the wire, not decoded, without the query.
    """
    if method in READ_METHODS:
        return "passes"
    if method != "POST":
        return "generates"
    if path in ROUTES:
        return "mitigated"
    if path in PASSES or any(pattern.fullmatch(path) for pattern in PASSING_PATTERNS):
        return "passes"
    return "generates"
