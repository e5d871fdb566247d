"""`/v1/chat/completions`: messages in, rendered by the model's template; token ids go beside them to the engine."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.mitigation import Mitigated
from unhitch.rendering.anatomy import render
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import FIELD, Patch, to_params
from unhitch_server import splice
from unhitch_server.best_of.request import require_one_whole_answer
from unhitch_server.config import EngineRendering
from unhitch_server.routes.confirmation import Confirmation
from unhitch_server.routes.request import GenerationRequest, Incomparable
from unhitch_server.states.confirmation import PARAMS, require_patchable

TOKENIZE_FIELDS = (
    "messages",
    "tools",
    "add_generation_prompt",
    "continue_final_message",
    "add_special_tokens",
    "chat_template_kwargs",
)
"""What the engine's /tokenize takes of a chat body."""

OTHER_TEMPLATE_FIELDS = ("documents", "reasoning_effort")
"""What reaches the template on the chat route only; a body that has one cannot be compared."""


class ChatRequest(GenerationRequest):
    """A chat completion's body."""

    __slots__ = ()
    path = "/v1/chat/completions"

    def prompt(self, checkpoint: Checkpoint, rendering: EngineRendering) -> Prompt:
        """The messages, rendered."""
        return render(checkpoint, rendering.conversation(self.fields, checkpoint.content_format))

    def encode(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = ()) -> bytes:
        """The body with the token ids in `kv_transfer_params`, where vLLM looks for them."""
        members = {PARAMS: transfer_params(self, token_ids, patches), "return_token_ids": "true"}
        return splice.put(self.text, members).encode("utf-8")

    def confirmation(self, mitigated: Mitigated) -> Confirmation:
        """The engine echoes token ids, in a stream with its first chunk."""
        return Confirmation(mitigated.after.token_ids, mitigated.after.patches, strip=not self.wants_token_ids)

    def tokenizing(self, prompt: Prompt) -> Mapping[str, Any]:
        """The members that /tokenize takes, too."""
        for name in OTHER_TEMPLATE_FIELDS:
            if self.fields.get(name) is not None:
                raise Incomparable(name)
        body = {name: self.fields[name] for name in TOKENIZE_FIELDS if name in self.fields}
        if prompt.conversation.tools is None:  # the engine may leave out those that are not to be called
            body.pop("tools", None)
        return body

    def require_choosable(self) -> None:
        """One whole answer can be rated."""
        require_one_whole_answer(self.fields)


def transfer_params(request: GenerationRequest, token_ids: tuple[int, ...], patches: Sequence[Patch]) -> str:
    """The client's `kv_transfer_params`, if there are any, with the prompt's token ids and our member in it: as JSON.

    Args:
        request: The body.
        token_ids: The prompt.
        patches: What the engine is to serve from states.

    Raises:
        MitigationUnavailable: The body asks for what cannot be served from a state.
    """
    ours = {"prompt_token_ids": json.dumps(token_ids, separators=(",", ":"))}
    if patches:
        require_patchable(request.fields)
        ours[FIELD] = json.dumps(to_params(patches), separators=(",", ":"))
    return request.params_with(ours)
