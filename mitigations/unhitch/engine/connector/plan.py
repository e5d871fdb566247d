"""What is to be done for one request: decided once, when it reaches the engine, from its own words."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from unhitch.engine.connector.residency import Load
from unhitch.errors import StateError
from unhitch.states.file import StateHeader
from unhitch.states.patch import FIELD, Patch, from_params, to_params


class Capture(BaseModel):
    """What a request to the base model asks to have recorded.

    Args:
        span: What the recorded positions are.
        start: The first of them.
        tokens: Length of the prompt up to the end of the span; positions `start` to `tokens - 1` are recorded.
        tokenizer: Digest for the header.
        template: Digest for the header.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    span: Literal["prefix", "query", "postfix"]
    start: int = Field(ge=0)
    tokens: int = Field(ge=1)
    tokenizer: str = Field(pattern="^[0-9a-f]{64}$")
    template: str = Field(pattern="^[0-9a-f]{64}$")


@dataclass(slots=True)
class Plan:
    """What one request gets.

    Args:
        patches: In order of position.
        headers: Of the patches' states.
        capture: What is recorded; goes with no patches.
        refusal: Why the request must fail, if it must.
        loads: The states' ways into memory, once they were asked for.
        given_salt: The request's own salt of the prefix cache.
    """

    patches: tuple[Patch, ...] = ()
    headers: Mapping[str, StateHeader] = field(default_factory=dict)
    capture: Capture | None = None
    refusal: str | None = None
    loads: list[Load] = field(default_factory=list)
    given_salt: str | None = None

    @property
    def prefix(self) -> Patch | None:
        """The patch whose tokens are claimed, so that the engine does not compute them."""
        return next((patch for patch in self.patches if self.headers[patch.state].span == "prefix"), None)

    @property
    def overlays(self) -> tuple[Patch, ...]:
        """The patches that are written over what the engine computes, layer by layer."""
        return tuple(patch for patch in self.patches if self.headers[patch.state].span != "prefix")

    def salt(self, request_id: str, generations: Mapping[str, int]) -> str:
        """What keeps its blocks in the prefix cache apart from those of requests that get anything else.

        Args:
            request_id: Keeps what was recorded or refused apart from everything.
            generations: How often the blocks of a state were given up.
        """
        words: object = request_id
        if self.patches and not self.refusal:
            words = [to_params(self.patches), [generations.get(patch.state, 0) for patch in self.patches]]
        return hashlib.sha256(json.dumps([words, self.given_salt]).encode()).hexdigest()


def plan(request: Any, header: Callable[[str], StateHeader], *, overlays: bool) -> Plan | None:
    """The plan for a request; None where it asks for nothing of ours.

    Args:
        request: vLLM's `Request`.
        header: Gives a state's header; raises `StateError`.
        overlays: Whether states other than a prefix's can be served.
    """
    params = request.kv_transfer_params
    if not isinstance(params, dict) or params.get(FIELD) is None:
        return None
    member = params[FIELD]
    try:
        if isinstance(member, dict) and set(member) == {"capture"}:
            return Plan(capture=_capture(member["capture"], request, overlays=overlays))
        patches = from_params(member)
        headers = {patch.state: header(patch.state) for patch in patches}
        _check_request(request)
        for patch in patches:
            _check_patch(patch, headers[patch.state], request.prompt_token_ids, overlays=overlays)
    except StateError as error:
        return Plan(refusal=error.message)
    except Exception as error:  # the request fails and the engine goes on
        return Plan(refusal=f"the request could not be read: {error!r}")
    return Plan(patches=patches, headers=headers)


def _capture(member: object, request: Any, *, overlays: bool) -> Capture:
    try:
        capture = Capture.model_validate(member)
    except ValidationError as error:
        raise StateError(f"kv_transfer_params.{FIELD}.capture: {error.errors()[0]['msg']}") from error
    _check_prompt(request)
    if request.lora_request is not None:
        raise StateError("a state is captured from the base model; this request names an adapter")
    if capture.span != "prefix" and not overlays:
        raise StateError(f"this engine serves no overlays, so it captures no state of a {capture.span}")
    if not capture.start < capture.tokens <= len(request.prompt_token_ids):
        raise StateError(f"the prompt has no positions {capture.start} to {capture.tokens - 1} to capture")
    return capture


def _check_prompt(request: Any) -> None:
    if request.prompt_token_ids is None or request.prompt_is_token_ids is not None or request.mm_features:
        raise StateError("a prompt of embeddings or with media cannot be patched, nor captured")
    if request.sampling_params is None:
        raise StateError("only requests that generate can be patched or captured")


def _check_request(request: Any) -> None:
    _check_prompt(request)
    if request.sampling_params.prompt_logprobs is not None or request.skip_reading_prefix_cache:
        raise StateError("prompt_logprobs has the engine compute the whole prompt, so it cannot be patched")


def _check_patch(patch: Patch, header: StateHeader, prompt: Sequence[int], *, overlays: bool) -> None:
    if patch.tokens > header.positions:
        raise StateError(f"the state {patch.state} has {header.positions} positions, not {patch.tokens}")
    if patch.stop > len(prompt):
        raise StateError(f"the prompt has {len(prompt)} tokens, so none at {patch.stop - 1} to patch")
    stored = header.tokens[header.start : header.start + patch.tokens]
    if tuple(prompt[patch.start : patch.stop]) != stored:
        raise StateError(f"the state {patch.state} is of other tokens than the prompt has at {patch.start}")
    if header.span != "prefix":
        if not overlays:
            raise StateError(f"this engine serves no overlays, and {patch.state} is a {header.span}'s state")
        return
    if patch.start:
        raise StateError(f"the state {patch.state} is a prefix's, and begins at position 0, not {patch.start}")
    if patch.stop == len(prompt):
        raise StateError("the patched prefix is the whole prompt; at least one token must be left to compute")
