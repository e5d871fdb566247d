"""`respace`: whitespace and punctuation of the prefix change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field

from unhitch.draw import Draw
from unhitch.editing.text_runs import Site, edit_characters
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import SeededParameters, Strategy

_PUNCTUATION = ".,;:!?"


class RespaceParameters(SeededParameters):
    """What `respace` takes."""

    edits: int = Field(
        default=10, ge=1, le=1000, description="How many characters are edited; all that may be, where there are fewer."
    )
    kinds: Literal["all", "spaces", "newlines", "punctuation"] = Field(
        default="all",
        description="What is edited: spaces (doubled), newlines (doubled or dropped), punctuation (dropped, or a space "
        "put before it), or all of these.",
    )
    protect: Literal["special", "header"] = Field(
        default="special", description="What is kept: control tokens, or these and the user header."
    )


class Respace(Strategy[RespaceParameters]):
    """Edits whitespace and punctuation between control tokens; tool definitions are kept.

    The whitespace that ends the prefix is never dropped, so that the user's words stay apart from what precedes them.

    Source: paper, figure 2.
    """

    name = "respace"
    version = 1
    summary = "whitespace and punctuation in the prefix"
    source = "paper, figure 2"
    parameters = RespaceParameters

    def edit(self, prompt: Prompt, parameters: RespaceParameters, draw: Draw) -> Prompt:
        """The prompt with other whitespace or punctuation in the prefix.

        Raises:
            MitigationUnavailable: The prefix is empty, or the tokenizer cannot write the edited text as it is.
        """

        def choose(texts: Sequence[str]) -> Mapping[Site, str]:
            stream = draw.stream(self.name)
            options = _options(texts, parameters.kinds)
            return {site: stream.choice(options[site]) for site in stream.sample(list(options), parameters.edits)}

        return edit_characters(prompt, parameters.protect, choose)


def _options(texts: Sequence[str], kinds: str) -> dict[Site, tuple[str, ...]]:
    """What each character can become that may be edited."""
    options: dict[Site, tuple[str, ...]] = {}
    for run, text in enumerate(texts):
        closing = len(text.rstrip()) if run == len(texts) - 1 else len(text)
        for index, character in enumerate(text):
            if found := _variants(character, kinds, droppable=index < closing):
                options[run, index] = found
    return options


def _variants(character: str, kinds: str, *, droppable: bool) -> tuple[str, ...]:
    if character == " " and kinds in ("all", "spaces"):
        return ("  ",)
    if character == "\n" and kinds in ("all", "newlines"):
        return ("\n\n", "") if droppable else ("\n\n",)
    if character in _PUNCTUATION and kinds in ("all", "punctuation"):
        return ("", f" {character}")
    return ()
