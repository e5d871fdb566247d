"""`/v1/responses`, OpenAI's: text or items in, turned into chat messages and rendered; token ids go beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.errors import UnhitchError
from unhitch.mitigation import Mitigated
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.messages import wrong
from unhitch.states.patch import Patch
from unhitch_server import splice
from unhitch_server.config import EngineRendering
from unhitch_server.routes.chat import transfer_params
from unhitch_server.routes.confirmation import Confirmation
from unhitch_server.routes.converted import ConvertedRequest, unknown
from unhitch_server.routes.echoing import Echoed
from unhitch_server.routes.responses_chat import chat_messages, chat_tools, continues
from unhitch_server.states.confirmation import PARAMS

_ECHO = "enable_response_messages"

_ELSEWHERE = {
    "previous_response_id": "names an answer that the engine keeps",
    "previous_input_messages": "gives messages that only some models read",
    "conversation": "names a conversation that is kept elsewhere",
    "prompt": "names a prompt that is kept elsewhere",
}
"""Members that have the prompt made of more than the body."""


class ResponsesRequest(ConvertedRequest):
    """The body of a response."""

    __slots__ = ()
    path = "/v1/responses"

    @property
    def wants_messages(self) -> bool:
        """Whether the client itself asked for the messages that confirm an edit."""
        return self.asks_for(_ECHO)

    def chat(self, checkpoint: Checkpoint) -> dict[str, Any]:  # noqa: ARG002 - no template matters here
        """What `OpenAIServingResponses` makes of the body."""
        _refuse(self.fields)
        given = self.fields.get("input")
        continuing = continues(given)
        chat: dict[str, Any] = {
            "messages": chat_messages(self.fields.get("instructions"), given),
            "add_generation_prompt": not continuing,
            "continue_final_message": continuing,
            "add_special_tokens": True,  # on this route vLLM has the tokenizer add its own, on chat it does not
        }
        if (tools := chat_tools(self.fields.get("tools"))) is not None:
            chat["tools"] = tools
        return chat | {"tool_choice": self.fields.get("tool_choice")}

    def effort(self, checkpoint: Checkpoint, rendering: EngineRendering) -> str | None:  # noqa: ARG002 - nor here
        """That of `reasoning`."""
        reasoning = self.fields.get("reasoning")
        if not isinstance(reasoning, dict | None):
            raise wrong("reasoning", reasoning, "an object")
        effort = (reasoning or {}).get("effort")
        if not isinstance(effort, str | None):
            raise wrong("reasoning.effort", effort, "a string")
        return effort

    def encode(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = ()) -> bytes:
        """The body with the token ids in `kv_transfer_params`, and a word that has the engine echo them."""
        members = {PARAMS: transfer_params(self, token_ids, patches), _ECHO: "true"}
        return splice.put(self.text, members).encode("utf-8")

    def confirmation(self, mitigated: Mitigated) -> Confirmation:
        """By the echo of the token ids, which ends an answer. See `Echoed` for what that shows of a stream."""
        return Echoed(mitigated.after.token_ids, mitigated.after.patches, strip=not self.wants_messages)

    @classmethod
    def probing(cls, token_ids: tuple[int, ...]) -> Mapping[str, Any]:
        """An input whose own rendering has other tokens."""
        probe = cls.probe_messages(token_ids)
        return {"input": probe["messages"], "max_output_tokens": 1, "store": False, _ECHO: True, PARAMS: probe[PARAMS]}

    @classmethod
    def probed(cls, token_ids: tuple[int, ...]) -> Confirmation:
        """By the echo of the token ids."""
        return Echoed(token_ids)

    @classmethod
    def error_event(cls, error: UnhitchError) -> bytes:
        """The event that ends a stream of this API; the object that its clients raise from stands in it, too."""
        own = error.to_openai()
        event = {"type": "error", **{key: own["error"][key] for key in ("code", "message", "param")}, **own}
        return b"event: error\ndata: " + json.dumps(event, ensure_ascii=False).encode("utf-8") + b"\n\n"


def _refuse(fields: Mapping[str, Any]) -> None:
    """Raise for what has the prompt made elsewhere, or cut, or the answer made while nobody reads it."""
    for name, reason in _ELSEWHERE.items():
        if fields.get(name) is not None:
            raise unknown(name, reason)
    if fields.get("background"):
        raise unknown("background", "has the answer kept for later, where it is not confirmed")
    if fields.get("truncation", "disabled") != "disabled":
        raise unknown("truncation", f"is {fields['truncation']!r}, which has the engine cut long prompts")
