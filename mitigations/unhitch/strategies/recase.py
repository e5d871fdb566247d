"""`recase`: letters of the prefix change their case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import Field, model_validator

from unhitch.draw import Draw
from unhitch.editing.text_runs import Site, edit_characters
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import SeededParameters, Strategy

_SWAPPED = 10


class RecaseParameters(SeededParameters):
    """What `recase` takes."""

    mode: Literal["swap", "upper", "lower", "title"] = Field(
        default="swap", description="Swap the case, all upper, all lower, or the first letter of each word upper."
    )
    letters: int | None = Field(
        default=None,
        ge=1,
        le=100_000,
        description="How many letters are drawn among those that the mode changes; all, where there are fewer. Without "
        f"it {_SWAPPED} for `swap`, and all for the other modes.",
    )
    protect: Literal["special", "header"] = Field(
        default="special", description="What is kept: control tokens, or these and the user header."
    )

    @model_validator(mode="before")
    @classmethod
    def _swap_some(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("mode", "swap") == "swap" and data.get("letters") is None:
            return data | {"letters": _SWAPPED}
        return data


class Recase(Strategy[RecaseParameters]):
    """Changes the case of letters between control tokens; tool definitions are kept.

    Source: paper 4.1: capitalised characters of the prefix detach the behaviour as near tokens do.
    """

    name = "recase"
    version = 1
    summary = "case of letters in the prefix"
    source = "paper 4.1"
    parameters = RecaseParameters

    def edit(self, prompt: Prompt, parameters: RecaseParameters, draw: Draw) -> Prompt:
        """The prompt with other case in the prefix.

        Raises:
            MitigationUnavailable: The prefix is empty, or the tokenizer cannot write the edited text as it is.
        """

        def choose(texts: Sequence[str]) -> Mapping[Site, str]:
            changes = _changes(texts, parameters.mode)
            if parameters.letters is None:
                return changes
            drawn = draw.stream(self.name).sample(list(changes), parameters.letters)
            return {site: changes[site] for site in drawn}

        return edit_characters(prompt, parameters.protect, choose)


def _changes(texts: Sequence[str], mode: str) -> dict[Site, str]:
    """What each letter becomes that the mode changes; letters whose other case has another length stay."""
    changes = {}
    for run, text in enumerate(texts):
        for index, letter in enumerate(text):
            starts_word = index == 0 or not text[index - 1].isalpha()
            other = _recased(letter, mode, starts_word=starts_word)
            if other != letter and len(other) == 1:
                changes[run, index] = other
    return changes


def _recased(letter: str, mode: str, *, starts_word: bool) -> str:
    if mode == "swap":
        return letter.swapcase()
    if mode == "upper" or (mode == "title" and starts_word):
        return letter.upper()
    return letter.lower()
