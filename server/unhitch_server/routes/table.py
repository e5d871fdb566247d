"""The routes on which mitigations can be made, by path."""

from __future__ import annotations

from unhitch_server.reply import Errors, OpenAIErrors
from unhitch_server.routes.chat import ChatRequest
from unhitch_server.routes.completions import CompletionRequest
from unhitch_server.routes.messages import MessagesRequest
from unhitch_server.routes.request import GenerationRequest
from unhitch_server.routes.responses import ResponsesRequest

_ALL: tuple[type[GenerationRequest], ...] = (ChatRequest, CompletionRequest, ResponsesRequest, MessagesRequest)

ROUTES: dict[str, type[GenerationRequest]] = {route.path: route for route in _ALL}
"""Each takes POST."""


def errors_of(path: str) -> type[Errors]:
    """How errors of ours are written for the clients of a path: Anthropic's way below its route, else OpenAI's.

    Args:
        path: Percent-decoded, without the query.
    """
    if path.startswith(f"{MessagesRequest.path}/"):
        return MessagesRequest
    return ROUTES.get(path, OpenAIErrors)
