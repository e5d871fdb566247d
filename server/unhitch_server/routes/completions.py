"""`/v1/completions`: a raw prompt, mitigated where the chat template's frame is recognised in it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from unhitch.errors import InvalidBody, MitigationUnavailable, UnrecognisedPrompt
from unhitch.mitigation import Mitigated
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.prompt import Prompt
from unhitch.rendering.recognise import frame, recognise
from unhitch.states.patch import FIELD, Patch, to_params
from unhitch_server import splice
from unhitch_server.config import EngineRendering
from unhitch_server.routes.confirmation import ChoiceConfirmation
from unhitch_server.routes.request import GenerationRequest
from unhitch_server.states.confirmation import PARAMS, require_patchable

_SHOWN_CHARACTERS = 160

_IN_THE_WAY = {
    "echo": "the answer would show the edited prompt",
    "suffix": "the engine would make another prompt of it, for filling in",
    "prompt_embeds": "the engine would read these before the prompt",
    "truncate_prompt_tokens": "the engine would cut the edited prompt",
}
"""Members that cannot be set beside an edit, and why."""


class CompletionRequest(GenerationRequest):
    """A text completion's body."""

    __slots__ = ()
    path = "/v1/completions"

    def prompt(self, checkpoint: Checkpoint, rendering: EngineRendering) -> Prompt:
        """The raw prompt, recognised.

        Raises:
            InvalidBody: The prompt is missing or malformed.
            UnrecognisedPrompt: No conversation renders to it.
            MitigationUnavailable: There are several, or another member of the body changes what the engine reads.
        """
        for name, consequence in _IN_THE_WAY.items():
            value = self.fields.get(name)
            if value is not None and value is not False:  # 0 is a length to cut to
                raise MitigationUnavailable(
                    f"`{name}` is set, and {consequence}. Leave it out, or turn the mitigation off.", param=name
                )
        raw = self._raw()
        found = recognise(
            checkpoint,
            raw,
            add_special_tokens=self._add_special_tokens,
            chat_template_kwargs=rendering.chat_template_kwargs,
        )
        if found is None:
            raise _unrecognised(self.model or checkpoint.name, checkpoint, raw, rendering)
        return found

    def encode(self, token_ids: tuple[int, ...], patches: Sequence[Patch] = ()) -> bytes:
        """The body with the token ids for its prompt; the engine adds nothing to them and cuts nothing off."""
        members = {"prompt": json.dumps(token_ids, separators=(",", ":")), "return_token_ids": "true"}
        if patches:
            require_patchable(self.fields)
            members[PARAMS] = self.params_with({FIELD: json.dumps(to_params(patches), separators=(",", ":"))})
        return splice.put(self.text, members).encode("utf-8")

    def confirmation(self, mitigated: Mitigated) -> ChoiceConfirmation:
        """The engine echoes token ids in each choice, in a stream with the choice's first chunk."""
        return ChoiceConfirmation(mitigated.after.token_ids, mitigated.after.patches, strip=not self.wants_token_ids)

    def tokenizing(self, prompt: Prompt) -> Mapping[str, Any] | None:  # noqa: ARG002 - the text stands in the body
        """The text, and whether special tokens are added to it. Token ids need no comparison."""
        raw = self._raw()
        if not isinstance(raw, str):
            return None
        return {"prompt": raw, "add_special_tokens": self._add_special_tokens}

    def _raw(self) -> str | list[int]:
        """The one prompt, as text or token ids."""
        given = self.fields.get("prompt")
        if isinstance(given, list) and given and isinstance(given[0], str | list):
            if len(given) > 1:
                raise MitigationUnavailable(
                    f"`prompt` holds {len(given)} prompts; a mitigation is made to one. Send each as a request of its "
                    "own, or turn the mitigation off.",
                    param="prompt",
                )
            given = given[0]
        if isinstance(given, str) and given:
            return given
        if isinstance(given, list) and given and all(type(token) is int and token >= 0 for token in given):
            return given
        raise InvalidBody("`prompt` must be a text or an array of token ids, and not be empty", param="prompt")

    @property
    def _add_special_tokens(self) -> bool:
        value = self.fields.get("add_special_tokens", True)
        if not isinstance(value, bool):
            raise InvalidBody(f"add_special_tokens must be true or false, not {value!r}", param="add_special_tokens")
        return value


def _unrecognised(
    model: str, checkpoint: Checkpoint, raw: str | list[int], rendering: EngineRendering
) -> UnrecognisedPrompt:
    """The error, which says what was looked for."""
    frames = (frame(checkpoint, rendering.chat_template_kwargs, system=system) for system in (False, True))
    starts = [" SYSTEM TEXT ".join(map(_shown, found.opening)) for found in frames if found is not None]
    if not isinstance(raw, str):
        raw = checkpoint.decode(token for token in raw[:_SHOWN_CHARACTERS] if token < checkpoint.vocabulary_size)
    return UnrecognisedPrompt(
        f"the prompt is no conversation as the chat template of {model} renders it, so where its prefix ends cannot be "
        f"told. It must begin as {' or as '.join(starts) or 'that template does'}, have the user's words behind that, "
        f"hold no tools, and be what the template renders, token for token; it begins as {_shown(raw)}. Send messages "
        "to /v1/chat/completions, or leave the text as the template renders it, or turn the mitigation off.",
        param="prompt",
    )


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
