"""Routes whose bodies the engine turns into a chat body before it renders them."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.errors import MitigationUnavailable
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import Patch
from unhitch_server import splice
from unhitch_server.config import EngineRendering
from unhitch_server.routes.chat import TOKENIZE_FIELDS, transfer_params
from unhitch_server.routes.request import GenerationRequest
from unhitch_server.states.confirmation import PARAMS

_EFFORT_KWARGS = ("reasoning_effort", "enable_thinking")
"""What an effort becomes in the template."""

_TEXT_PARTS = ("input_text", "output_text")


class ConvertedRequest(GenerationRequest):
    """A body that is a chat body in another form: its chat body is made here as the engine makes it."""

    __slots__ = ()

    @abstractmethod
    def chat(self, checkpoint: Checkpoint) -> dict[str, Any]:
        """The members of a chat body that decide the prompt, but those of the template's variables.

        Args:
            checkpoint: Of the model: how some messages are turned depends on its template.

        Raises:
            InvalidBody: The body is malformed.
            MitigationUnavailable: It cannot be told what the engine would make of it.
        """

    @abstractmethod
    def effort(self, checkpoint: Checkpoint, rendering: EngineRendering) -> str | None:
        """The reasoning effort that the template is told; None where the body says nothing of it.

        Raises:
            InvalidBody: What the body says of it is malformed.
        """

    def prompt(self, checkpoint: Checkpoint, rendering: EngineRendering) -> Prompt:
        """The messages that the engine makes of the body, rendered."""
        chat = self.chat(checkpoint)
        # The engine takes an empty list here, and the template sees it; on the chat route such a body is refused.
        empty = chat.get("tools") == []
        body = {name: value for name, value in chat.items() if not (empty and name == "tools")} | {
            "chat_template_kwargs": self.fields.get("chat_template_kwargs"),
            "reasoning_effort": self.effort(checkpoint, rendering),
            PARAMS: self.fields.get(PARAMS),
        }
        conversation = rendering.conversation(body, checkpoint.content_format)
        excluded = rendering.exclude_tools_when_tool_choice_none and chat.get("tool_choice") == "none"
        if empty and not excluded:
            conversation = dataclasses.replace(conversation, tools=())
        return render(checkpoint, conversation)

    def encode(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = ()) -> bytes:
        """The body with the token ids in `kv_transfer_params`, where vLLM looks for them on these routes, too."""
        return splice.put(self.text, {PARAMS: transfer_params(self, token_ids, patches)}).encode("utf-8")

    def tokenizing(self, prompt: Prompt) -> Mapping[str, Any]:
        """The chat body's members that /tokenize takes; an effort goes as the template's variables."""
        chat = self.chat(prompt.checkpoint)
        body = {name: chat[name] for name in TOKENIZE_FIELDS if name in chat}
        body["messages"] = [_in_chat_parts(message) for message in body["messages"]]
        if not prompt.conversation.tools:
            body.pop("tools", None)
        variables = dict(self.fields.get("chat_template_kwargs") or {})
        known = prompt.conversation.chat_template_kwargs
        if "reasoning_effort" in known:
            variables |= {name: known[name] for name in _EFFORT_KWARGS if name in known}
        return body | ({"chat_template_kwargs": variables} if variables else {})


def _in_chat_parts(message: dict[str, Any]) -> dict[str, Any]:
    """The message with its parts under the one type that /tokenize knows for text."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    parts = [{**part, "type": "text"} if part.get("type") in _TEXT_PARTS else part for part in content]
    return {**message, "content": parts}


def unknown(where: str, what: str) -> MitigationUnavailable:
    """The error for a member from which the engine makes something that cannot be told here.

    Args:
        where: The member, as `messages[0].content[1]`.
        what: What is the matter with it, to follow its name.
    """
    return MitigationUnavailable(
        f"`{where}` {what}, so the prompt that the engine would make of the body is not known here, and could not be "
        "edited. Nothing was generated. Leave it out, or turn the mitigation off.",
        param=where,
    )
