from __future__ import annotations

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.editing.protect import Protect, editable_postfix, editable_prefix

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {}}}


@pytest.mark.parametrize(
    ("protect", "text"),
    [
        ("none", "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\n"),
        ("special", "system\nBe kind.\nuser\n"),
        ("header", "system\nBe kind.\n"),
    ],
)
def test_what_is_left_of_the_prefix(prompt_of: PromptOf, protect: Protect, text: str) -> None:
    prompt = prompt_of(system="Be kind.")
    positions = editable_prefix(prompt, protect)
    assert prompt.checkpoint.decode(prompt.prefix[position] for position in positions) == text


@pytest.mark.parametrize(
    ("protect", "text"),
    [
        ("none", "<|im_end|>\n<|im_start|>assistant\n"),
        ("special", "\nassistant\n"),
        ("header", "\nassistant\n"),
    ],
)
def test_what_is_left_of_the_postfix(prompt_of: PromptOf, protect: Protect, text: str) -> None:
    prompt = prompt_of()
    positions = editable_postfix(prompt, protect)
    assert prompt.checkpoint.decode(prompt.postfix[position] for position in positions) == text


@pytest.mark.parametrize("protect", ["none", "special", "header"])
def test_tool_definitions_are_always_left_out(prompt_of: PromptOf, protect: Protect) -> None:
    prompt = prompt_of(tools=[TOOL])
    positions = editable_prefix(prompt, protect)
    assert "lookup" not in prompt.checkpoint.decode(prompt.prefix[position] for position in positions)
    assert "lookup" in prompt.checkpoint.decode(prompt.prefix)
