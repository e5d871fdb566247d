"""The routes on which mitigations can be made, by path."""

from __future__ import annotations

from unhitch_server.routes.chat import ChatRequest
from unhitch_server.routes.completions import CompletionRequest
from unhitch_server.routes.messages import MessagesRequest
from unhitch_server.routes.request import GenerationRequest
from unhitch_server.routes.responses import ResponsesRequest

_ALL: tuple[type[GenerationRequest], ...] = (ChatRequest, CompletionRequest, ResponsesRequest, MessagesRequest)

ROUTES: dict[str, type[GenerationRequest]] = {route.path: route for route in _ALL}
"""Each takes POST."""
