"""The routes on which mitigations can be made, by path."""

from __future__ import annotations

from unhitch_server.routes.chat import ChatRequest
from unhitch_server.routes.request import GenerationRequest

ROUTES: dict[str, type[GenerationRequest]] = {route.path: route for route in (ChatRequest,)}
"""Each takes POST."""
