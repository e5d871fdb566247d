from __future__ import annotations

import re
from typing import Any

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.rendering.prompt import Prompt
from unhitch.strategies.respace import Respace, RespaceParameters

SYSTEM = "Be brief, kind; and true: always.\nRight?"


def respaced(prompt: Prompt, seed: int = 1, **parameters: Any) -> str:
    after = Respace().edit(prompt, RespaceParameters(**parameters), Draw(seed))
    assert (after.query, after.postfix) == (prompt.query, prompt.postfix)
    return prompt.checkpoint.decode(after.prefix)


def letters(text: str) -> str:
    return re.sub(r"[\s.,;:!?]", "", text)


@pytest.mark.parametrize("seed", range(5))
def test_only_whitespace_and_punctuation_change(prompt_of: PromptOf, seed: int) -> None:
    prompt = prompt_of(system=SYSTEM)
    before, after = prompt.checkpoint.decode(prompt.prefix), respaced(prompt, seed)
    assert after != before
    assert letters(after) == letters(before)


def test_spaces_are_doubled(prompt_of: PromptOf) -> None:
    text = respaced(prompt_of(system=SYSTEM), kinds="spaces", edits=1000)
    assert "Be  brief,  kind;  and  true:  always.\nRight?" in text


@pytest.mark.parametrize("seed", range(8))
def test_newlines_are_doubled_or_dropped(prompt_of: PromptOf, seed: int) -> None:
    text = respaced(prompt_of(system=SYSTEM), seed, kinds="newlines", edits=1000)
    assert re.fullmatch(
        r"<\|im_start\|>system(\n\n)?Be brief, kind; and true: always\.(\n\n)?Right\?<\|im_end\|>(\n\n)?"
        r"<\|im_start\|>user\n\n",
        text,
    )


@pytest.mark.parametrize("seed", range(8))
def test_punctuation_is_dropped_or_spaced_out(prompt_of: PromptOf, seed: int) -> None:
    text = respaced(prompt_of(system=SYSTEM), seed, kinds="punctuation", edits=1000)
    assert re.search(r"Be brief( ,)? kind( ;)? and true( :)? always( \.)?\nRight( \?)?<", text)


def test_each_variant_is_drawn_sometimes(prompt_of: PromptOf) -> None:
    prompt = prompt_of(system=SYSTEM)
    texts = [respaced(prompt, seed, kinds="newlines", edits=1000) for seed in range(20)]
    assert {"always.\n\nRight" in text for text in texts} == {True, False}


@pytest.mark.parametrize("template", ["qwen25", "llama31", "chatml", "gemma"])
@pytest.mark.parametrize("seed", range(5))
def test_the_whitespace_before_the_users_words_is_never_dropped(prompt_of: PromptOf, template: str, seed: int) -> None:
    assert respaced(prompt_of(template), seed, edits=1000).endswith("\n")


def test_so_many_places_are_edited(prompt_of: PromptOf) -> None:
    prompt = prompt_of(system=SYSTEM)
    before = prompt.checkpoint.decode(prompt.prefix)
    after = respaced(prompt, kinds="spaces", edits=2)
    assert len(after) == len(before) + 2


def test_the_user_header_is_kept_where_it_is_protected(prompt_of: PromptOf) -> None:
    text = respaced(prompt_of(system=SYSTEM), edits=1000, protect="header")
    assert text.endswith("<|im_start|>user\n")


def test_seeds_draw_other_edits(prompt_of: PromptOf) -> None:
    assert len({respaced(prompt_of(system=SYSTEM), seed, edits=3) for seed in range(8)}) > 5
