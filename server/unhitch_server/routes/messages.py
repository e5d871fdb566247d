"""`/v1/messages`, Anthropic's: messages in, turned into chat messages and rendered; token ids go beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from unhitch.errors import InvalidBody, MitigationUnavailable, UnhitchError
from unhitch.mitigation import Mitigated
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.messages import wrong
from unhitch_server.config import EngineRendering
from unhitch_server.routes.anthropic_chat import chat_messages, chat_tool_choice, chat_tools, needs_system_first
from unhitch_server.routes.confirmation import Confirmation
from unhitch_server.routes.converted import ConvertedRequest
from unhitch_server.routes.counting import Counted

_EFFORTS = ("low", "medium", "high", "xhigh", "max")

_ERROR_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 413: "request_too_large"}
"""Anthropic's names, by status, where they are not those that our errors have."""


class MessagesRequest(ConvertedRequest):
    """The body of an Anthropic message."""

    __slots__ = ()
    path = "/v1/messages"

    def chat(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """What `AnthropicServingMessages` makes of the body."""
        raw = self.fields.get("messages")
        inline = isinstance(raw, list) and any(isinstance(turn, dict) and turn.get("role") == "system" for turn in raw)
        templates = (checkpoint.template, checkpoint.tools_template)
        system_first = inline and any(needs_system_first(template) for template in templates)
        chat: dict[str, Any] = {"messages": chat_messages(self.fields, system_first=system_first)}
        if (tools := chat_tools(self.fields.get("tools"))) is not None:
            chat["tools"] = tools
        return chat | {"tool_choice": chat_tool_choice(self.fields.get("tool_choice"))}

    def effort(self, checkpoint: Checkpoint, rendering: EngineRendering) -> str | None:
        """That of `output_config`; thinking that is disabled has its own.

        An engine that was started with another `--disabled-thinking-effort` than `auto` is not known here.
        """
        thinking = _member(self.fields, "thinking").get("type")
        if thinking == "disabled":
            return disabled_effort(checkpoint, rendering)
        effort = _member(self.fields, "output_config").get("effort")
        if effort is not None and effort not in _EFFORTS:
            raise InvalidBody(
                f"`output_config.effort` is {effort!r}; one of {', '.join(_EFFORTS)} is expected.",
                param="output_config.effort",
            )
        return effort

    def confirmation(self, mitigated: Mitigated) -> Confirmation:
        """By the number of tokens: the engine echoes no ids here. See `Counted` for what that shows."""
        return Counted(mitigated.after.token_ids, mitigated.after.patches)

    @classmethod
    def probing(cls, token_ids: tuple[int, ...]) -> Mapping[str, Any]:
        """A message whose own rendering has another number of tokens."""
        return cls.probe_messages(token_ids) | {"max_tokens": 1}

    @classmethod
    def probed(cls, token_ids: tuple[int, ...]) -> Confirmation:
        """By the number of tokens, too."""
        return Counted(token_ids)

    @classmethod
    def error_body(cls, error: UnhitchError) -> bytes:
        """Anthropic's error object; `param` and `code` stand in it, too."""
        own = error.to_openai()["error"]
        named = {"type": _ERROR_TYPES.get(error.status, own["type"])}
        return json.dumps({"type": "error", "error": own | named}, ensure_ascii=False).encode("utf-8")

    @classmethod
    def error_event(cls, error: UnhitchError) -> bytes:
        """The same, under the event's name."""
        return b"event: error\ndata: " + cls.error_body(error) + b"\n\n"


def disabled_effort(checkpoint: Checkpoint, rendering: EngineRendering) -> str:
    """The effort that stands for disabled thinking: `low` where the template refuses or ignores `none`.

    vLLM finds this out once, by rendering a word of greeting with each effort, and so it is done here.
    """
    without = _greeting(checkpoint, rendering, "none")
    if without is None:
        return "low"
    return "low" if any(_greeting(checkpoint, rendering, effort) == without for effort in _EFFORTS) else "none"


def _greeting(checkpoint: Checkpoint, rendering: EngineRendering, effort: str) -> str | None:
    body = {"messages": [{"role": "user", "content": "Hi"}], "reasoning_effort": effort}
    try:
        return checkpoint.render_text(rendering.conversation(body, checkpoint.content_format))
    except MitigationUnavailable:
        return None


def _member(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    if not isinstance(value, dict | None):
        raise wrong(name, value, "an object")
    return value or {}
