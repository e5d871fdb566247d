from __future__ import annotations

from typing import Any

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.rendering.prompt import Prompt
from unhitch.strategies.recase import Recase, RecaseParameters

SYSTEM = "You are Sample. ÄÖü straße, 100%."


def recased(prompt: Prompt, seed: int = 1, **parameters: Any) -> str:
    after = Recase().edit(prompt, RecaseParameters(**parameters), Draw(seed))
    assert (after.query, after.postfix) == (prompt.query, prompt.postfix)
    return prompt.checkpoint.decode(after.prefix)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("upper", "<|im_start|>SYSTEM\nYOU ARE SAMPLE. ÄÖÜ STRAßE, 100%.<|im_end|>\n<|im_start|>USER\n"),
        ("lower", "<|im_start|>system\nyou are sample. äöü straße, 100%.<|im_end|>\n<|im_start|>user\n"),
        ("title", "<|im_start|>System\nYou Are Sample. Äöü Straße, 100%.<|im_end|>\n<|im_start|>User\n"),
    ],
)
def test_without_a_number_of_letters_all_change(prompt_of: PromptOf, mode: str, expected: str) -> None:
    assert recased(prompt_of(system=SYSTEM), mode=mode) == expected


@pytest.mark.parametrize(("letters", "count"), [(1, 1), (10, 10), (None, 10)])
def test_so_many_letters_are_swapped(prompt_of: PromptOf, letters: int | None, count: int) -> None:
    prompt = prompt_of(system=SYSTEM)
    before, after = prompt.checkpoint.decode(prompt.prefix), recased(prompt, letters=letters)
    pairs = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(pairs) == count
    assert all(b == a.swapcase() for a, b in pairs)


def test_all_letters_are_swapped_where_there_are_fewer(prompt_of: PromptOf) -> None:
    text = recased(prompt_of("chatml"), letters=1000)
    assert text == "<|im_start|>USER\n"


def test_letters_can_be_drawn_in_other_modes(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    before, after = prompt.checkpoint.decode(prompt.prefix), recased(prompt, mode="upper", letters=3)
    assert sum(a != b for a, b in zip(before, after, strict=True)) == 3


def test_seeds_draw_other_letters(prompt_of: PromptOf) -> None:
    assert len({recased(prompt_of(), seed) for seed in range(10)}) == 10


def test_the_user_header_is_kept_where_it_is_protected(prompt_of: PromptOf) -> None:
    text = recased(prompt_of(system=SYSTEM), mode="upper", protect="header")
    assert text.startswith("<|im_start|>SYSTEM\n")
    assert text.endswith("<|im_start|>user\n")


def test_a_run_in_which_nothing_changes_keeps_its_tokens(prompt_of: PromptOf) -> None:
    prompt = prompt_of(system="ONLY CAPITALS")
    after = Recase().edit(prompt, RecaseParameters(mode="upper", protect="header"), Draw(1))
    tail = len(prompt.user_header)
    assert after.prefix[-tail:] == prompt.prefix[-tail:]


def test_the_explicit_default_equals_the_implied_one() -> None:
    assert RecaseParameters().letters == 10
    assert RecaseParameters(mode="upper").letters is None
    assert RecaseParameters() == RecaseParameters(mode="swap", letters=10)
