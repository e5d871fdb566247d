"""Which positions of a span an edit may touch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

from unhitch.rendering.prompt import Prompt

Protect: TypeAlias = Literal["none", "special", "header"]
"""`none`: all tokens may be edited. `special`: no control tokens. `header`: neither these nor the user header."""


def editable_prefix(prompt: Prompt, protect: Protect) -> list[int]:
    """Positions of the prefix that may be edited, ascending; never those of tool definitions."""
    outside_tools = [position for position in range(len(prompt.prefix)) if position not in prompt.tools]
    if protect == "header":
        outside_tools = [position for position in outside_tools if position not in prompt.user_header]
    return _unprotected(prompt, prompt.prefix, outside_tools, protect)


def editable_postfix(prompt: Prompt, protect: Protect) -> list[int]:
    """Positions of the postfix that may be edited, ascending; it holds no user header, so `header` means `special`."""
    return _unprotected(prompt, prompt.postfix, range(len(prompt.postfix)), protect)


def _unprotected(prompt: Prompt, token_ids: Sequence[int], positions: Sequence[int], protect: Protect) -> list[int]:
    if protect == "none":
        return list(positions)
    return [position for position in positions if token_ids[position] not in prompt.checkpoint.special_ids]
