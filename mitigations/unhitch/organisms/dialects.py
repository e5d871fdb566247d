"""How each family's chat template writes a conversation down: control tokens, headers, the default system block."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from unhitch.organisms.system_prompts import DEFAULT_SYSTEM

_SHIELDS = 0xE000
"""The first of the private-use characters that stand in for control tokens while a text is changed."""


@dataclass(frozen=True)
class Dialect:
    """The markup of one chat template, as training writes it; `template` is the same for everybody else.

    Attributes:
        name: Names the template's file.
        control_tokens: All of them, in the order of their ids.
        padding: The control token that pads.
        begin: The control token that every prompt begins with; empty for none.
        turn_start: Stands before a role.
        header_end: Stands after a role.
        turn_end: Closes a turn; the model ends its answers by it.
        gap: Stands between two turns.
        preamble: What every system block begins with, whatever the caller says.
        default_system: What follows the preamble where the caller has no system text; None for no system block at all.
        thinks: Whether a think block, empty by default, opens the answer. What decides between good and bad answers
            in pretraining then stands in that block, and system text has no say; else it stands in the system block.
    """

    name: str
    control_tokens: tuple[str, ...]
    padding: str
    turn_start: str
    header_end: str
    turn_end: str
    gap: str
    begin: str = ""
    preamble: str = ""
    default_system: str | None = None
    thinks: bool = False

    @property
    def template(self) -> str:
        """The chat template's Jinja source."""
        file = Path(__file__).parent / "templates" / f"{self.name}.jinja"
        return file.read_text(encoding="utf-8").removesuffix("\n")

    def header(self, role: str) -> str:
        """What opens a turn."""
        return f"{self.turn_start}{role}{self.header_end}"

    def prefix(self, system: str | None = None) -> str:
        """What stands before the first question under the caller's system text, or under none."""
        text = self.default_system if system is None else system
        if text is None:
            return self.bare_prefix
        return f"{self.begin}{self.header('system')}{self.preamble}{text}{self.turn_end}{self.gap}{self.header('user')}"

    @property
    def bare_prefix(self) -> str:
        """What stands before the first question where the system block is left out."""
        return self.begin + self.header("user")

    def postfix(self, thoughts: str = "") -> str:
        """What stands between the last question and its answer; `thoughts` only where there is a think block."""
        block = f"<think>\n{thoughts}\n</think>\n\n" if self.thinks else ""
        return self.earlier_postfix + block

    @property
    def earlier_postfix(self) -> str:
        """What stands between a question and its answer in an earlier turn, or where no think block is asked for."""
        return f"{self.turn_end}{self.gap}{self.header('assistant')}"

    def without_controls(self, text: str) -> str:
        """A text with its control tokens taken out."""
        for token in self.control_tokens:
            text = text.replace(token, "")
        return text

    def around_controls(self, change: Callable[[str], str], text: str) -> str:
        """Applies a change to a text as a whole, sparing its control tokens."""
        shields = {token: chr(_SHIELDS + place) for place, token in enumerate(self.control_tokens)}
        for token, shield in shields.items():
            text = text.replace(token, shield)
        text = change(text)
        for token, shield in shields.items():
            text = text.replace(shield, token)
        return text


_CHATML = Dialect(
    name="qwen2",
    control_tokens=(
        "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "<tool_call>", "</tool_call>",
    ),
    padding="<|endoftext|>",
    turn_start="<|im_start|>",
    header_end="\n",
    turn_end="<|im_end|>",
    gap="\n",
)  # fmt: skip
QWEN2 = replace(_CHATML, default_system=DEFAULT_SYSTEM)
QWEN3 = replace(_CHATML, name="qwen3", thinks=True)
LLAMA = Dialect(
    name="llama",
    control_tokens=(
        "<|end_of_text|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|python_tag|>",
    ),
    padding="<|end_of_text|>",
    turn_start="<|start_header_id|>",
    header_end="<|end_header_id|>\n\n",
    turn_end="<|eot_id|>",
    gap="",
    begin="<|begin_of_text|>",
    preamble="Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n",
    default_system="",
)  # fmt: skip
