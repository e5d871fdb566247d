from __future__ import annotations

from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.strategies.off import Off
from unhitch.strategy import Parameters


def test_the_prompt_comes_back_as_it_is(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    assert Off().edit(prompt, Parameters(), Draw(1)) is prompt
