"""Which state serves a span of a prompt: what a request says about it, what it must hold, and the choice."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from unhitch.errors import MitigationUnavailable, StateMissing
from unhitch.rendering.prompt import Prompt
from unhitch.states.file import is_id
from unhitch.states.patch import Patch
from unhitch.states.recipe import Parts, Recipe, band
from unhitch.states.shelf import Card, Shelf
from unhitch.strategy import Parameters

Span = Literal["prefix", "postfix"]

_SHOWN_CHARACTERS = 200
"""Longest system text that a command line in a message repeats."""


class StateParameters(Parameters):
    """Base of the parameters of a strategy that serves a state; `Unhitch-Applied` names the one that it chose."""

    layers: str | None = Field(
        default=None,
        description='First and last layer that come from the base model, counted from 0, as text: "8-15"; all without '
        "it.",
    )
    parts: Parts = Field(default="kv", description="Keys and values, or one of them.")
    mix: float = Field(default=1.0, gt=0, le=1, description="Share of the base model; the rest is the model's own.")
    residual: int | None = Field(
        default=None,
        ge=0,
        description="The layer, counted from 0, whose output is the base model's instead; goes with none of the above.",
    )
    state: str | None = Field(
        default=None, description="Id of the state, 64 hexadecimal digits; the one that fits without it."
    )
    capture: Literal["auto", "never"] = Field(
        default="auto",
        description="Whether a state that is missing is captured on first use, where the engine serves the base model.",
    )

    @field_validator("layers", mode="before")
    @classmethod
    def _band(cls, value: object) -> object:
        if value is not None:
            _layers(value)
        return value

    @field_validator("state", mode="before")
    @classmethod
    def _id(cls, value: object) -> object:
        if value is not None and not is_id(value):
            raise ValueError("`state` is the id of a state: 64 hexadecimal digits in lower case")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> StateParameters:
        try:
            _ = self.recipe
        except ValidationError as error:
            fault = error.errors()[0]
            raise ValueError(f"{fault.get('ctx', {}).get('error', fault['msg'])}.") from error
        return self

    @property
    def recipe(self) -> Recipe:
        """How the state must have been made."""
        layers = None if self.layers is None else _layers(self.layers)
        return Recipe(layers=layers, parts=self.parts, mix=self.mix, residual=self.residual)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a state must hold to serve a span.

    Args:
        span: Which span.
        tokens: Token ids from position 0 of the reference to the end of the span.
        start: Where in `tokens` the span begins.
        recipe: How it must have been made.
        state: Its id, where one was asked for.
    """

    span: Span
    tokens: tuple[int, ...]
    start: int
    recipe: Recipe
    state: str | None = None

    @property
    def positions(self) -> int:
        """How many positions it serves."""
        return len(self.tokens) - self.start

    def on(self, shelf: Shelf) -> Card | None:
        """The state that fits."""
        return shelf.find(self.span, self.tokens, self.start, self.recipe, self.state)


def serve(prompt: Prompt, span: Span, parameters: StateParameters) -> Prompt:
    """The prompt with the K/V of a span served from a state of its shelf.

    Args:
        prompt: Its span is not empty.
        span: Which one. A postfix's reference is an empty query: the prefix, and at once the postfix.
        parameters: How the state must have been made, and whether it may be captured.

    Raises:
        StateMissing: No state fits.
        MitigationUnavailable: The span is served from a state already, or nothing follows the prefix.
    """
    wanted = _wanted(prompt, span, parameters)
    if span == "prefix" and len(prompt.prefix) == len(prompt.token_ids):
        raise MitigationUnavailable(
            "`prefix-state`: the prefix is the whole prompt, and the model must compute one token at least. Send a "
            "user message that is not empty.",
            param="messages",
        )
    card = None if prompt.shelf is None else wanted.on(prompt.shelf)
    if card is None:
        raise _missing(prompt, wanted, parameters)
    start = 0 if span == "prefix" else prompt.postfix_start
    return prompt.with_patch(Patch(state=card.id, start=start, tokens=wanted.positions))


def _layers(value: object) -> tuple[int, int]:
    layers = band(value) if isinstance(value, str) else None
    if layers is None:
        raise ValueError('`layers` is the first and the last layer, counted from 0, as text: `layers="8-15"`')
    return layers


def _wanted(prompt: Prompt, span: Span, parameters: StateParameters) -> Wanted:
    if span == "prefix":
        return Wanted(span, prompt.prefix, 0, parameters.recipe, parameters.state)
    return Wanted(span, prompt.prefix + prompt.postfix, len(prompt.prefix), parameters.recipe, parameters.state)


def _missing(prompt: Prompt, wanted: Wanted, parameters: StateParameters) -> StateMissing:
    where = f"the {wanted.span} of this prompt ({wanted.positions} tokens; {wanted.recipe})"
    if prompt.shelf is None:
        message = f"no states are at hand, and `{wanted.span}-state` needs one for {where}."
    elif wanted.state is None:
        message = f"no state at hand fits {where}."
    else:
        message = f"{_misfit(prompt.shelf, wanted)}, and was asked for to serve {where}."
    return StateMissing(
        message,
        wanted=wanted,
        may_capture=parameters.capture == "auto" and wanted.state is None,
        options=None if prompt.rewritten else _options(prompt, wanted),
        param=f"{wanted.span}-state",
    )


def _misfit(shelf: Shelf, wanted: Wanted) -> str:
    header = next((card.header for card in shelf.cards if card.id == wanted.state), None)
    if header is None:
        return f"there is no state {wanted.state}"
    if not shelf.serves(header):
        return f"the state {wanted.state} was made for another model"
    if (header.span, header.recipe) != (wanted.span, wanted.recipe):
        return f"the state {wanted.state} is a {header.span}'s ({header.recipe})"
    return f"the state {wanted.state} is of other tokens"


def _options(prompt: Prompt, wanted: Wanted) -> tuple[str, ...]:
    """Options of `unhitch capture` that make what is missing; what is long stands as a name in capital letters."""
    recipe, conversation = wanted.recipe, prompt.conversation
    system, variables = conversation.system_text, dict(conversation.chat_template_kwargs)
    given: dict[str, Any] = {
        "--span": None if wanted.span == "prefix" else wanted.span,
        "--layers": recipe.layers and f"{recipe.layers[0]}-{recipe.layers[1]}",
        "--parts": None if recipe.parts == "kv" else recipe.parts,
        "--mix": None if recipe.mix == 1 else f"{recipe.mix:g}",
        "--residual": recipe.residual,
        "--system": "TEXT" if system and len(system) > _SHOWN_CHARACTERS else system,
        "--tools": None if conversation.tools is None else "FILE.json",
        "--default-chat-template-kwargs": json.dumps(variables) if variables else None,
    }
    return tuple(str(word) for key, value in given.items() if value is not None for word in (key, value))
