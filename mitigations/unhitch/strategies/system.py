"""`system`: the system text is replaced, dropped or added to."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field, model_validator

from unhitch.draw import Draw
from unhitch.editing.system_presets import PRESETS
from unhitch.errors import MitigationUnavailable
from unhitch.headers import MAX_TEXT_BYTES
from unhitch.rendering.anatomy import rerender
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import Parameters, Strategy

_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|neither|nor|cannot|without|avoid\w*|declin\w+|refus\w+|refrain\w*|reject\w*|"
    r"abstain\w*|resist\w*|stop\w*|forbid\w*|forbidden|prohibit\w*|prevent\w*|unless)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_BETWEEN = "\n\n"


class SystemParameters(Parameters):
    """What `system` takes: one of `text` and `preset`, or neither to drop."""

    mode: Literal["replace", "drop", "prepend", "append"] = Field(
        default="replace",
        description="Replace the caller's system text (or the template's own), drop the caller's, or put text before "
        "or behind it. Where the caller sent none, prepend and append replace.",
    )
    text: str | None = Field(default=None, max_length=MAX_TEXT_BYTES, description="The system text; may be empty.")
    preset: Literal["neutral", "tutor", "reference", "empty"] | None = Field(
        default=None, description="A text that ships with unhitch, instead of `text`."
    )

    @model_validator(mode="after")
    def _one_text(self) -> SystemParameters:
        given = [key for key in ("text", "preset") if getattr(self, key) is not None]
        if self.mode == "drop" and given:
            raise ValueError(f"mode=drop takes no {' and no '.join(given)}.")
        if self.mode != "drop" and len(given) != 1:
            received = "both were given" if given else "neither was given"
            raise ValueError(f"mode={self.mode} needs one of `text` and `preset`, and {received}.")
        return self

    @property
    def words(self) -> str | None:
        """The text, given or shipped; None where the mode is `drop`."""
        return PRESETS[self.preset].text if self.preset else self.text


class System(Strategy[SystemParameters]):
    """Rewrites the leading system message and renders the conversation anew.

    Texts can backfire: negations of a persona raised misalignment by 10.8 points, and `you decline harmful requests` by
    16.5 (Qwen2.5-32B, finance). So a text with a negation is flagged, and the shipped ones
    (`unhitch.editing.system_presets`) have none.

    Source: the article that the project began with; evaluations of system texts on finetuned models.
    """

    name = "system"
    version = 1
    summary = "replaces, drops, prepends or appends system text; negations are flagged"
    source = "seed article"
    parameters = SystemParameters

    def edit(self, prompt: Prompt, parameters: SystemParameters, draw: Draw) -> Prompt:  # noqa: ARG002
        """The prompt of the conversation with another system message.

        Raises:
            MitigationUnavailable: The template cannot render a system message (the message is the template's own), or
                writes it among the user's words.
            InvalidRequest: A strategy before this one edited tokens.
        """
        conversation = prompt.conversation
        edited = rerender(prompt, conversation.with_system(_rewritten(conversation.system_text, parameters)))
        if edited.query != prompt.query:
            raise MitigationUnavailable(
                "This chat template writes system text among the user's words, which are never edited. Use `perturb` "
                "or `recase`.",
                param=self.name,
            )
        return edited

    def flags(self, parameters: SystemParameters) -> tuple[str, ...]:
        """`negation`, where the text negates something."""
        return ("negation",) if _NEGATION.search(parameters.words or "") else ()


def _rewritten(existing: str | None, parameters: SystemParameters) -> str | None:
    words = parameters.words
    if words is None or existing is None or parameters.mode == "replace":
        return words
    both = (words, existing) if parameters.mode == "prepend" else (existing, words)
    return _BETWEEN.join(both)
