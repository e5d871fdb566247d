from __future__ import annotations

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable
from unhitch.headers import parse_mitigation
from unhitch.mitigation import mitigate
from unhitch.registry import Registry
from unhitch.rendering.prompt import Prompt
from unhitch.strategies.bare import Bare
from unhitch.strategy import Parameters

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {}}}


def bare(prompt: Prompt) -> Prompt:
    return Bare().edit(prompt, Parameters(), Draw(1))


def test_only_the_user_header_stays(prompt_of: PromptOf) -> None:
    prompt = prompt_of("qwen25")
    after = bare(prompt)
    assert prompt.checkpoint.decode(after.prefix) == "<|im_start|>user\n"
    assert after.prefix[after.user_header.start : after.user_header.stop] == after.prefix


def test_the_token_that_begins_every_text_stays(prompt_of: PromptOf) -> None:
    prompt = prompt_of("llama31")
    after = bare(prompt)
    assert prompt.checkpoint.decode(after.prefix) == "<s><|start_header_id|>user<|end_header_id|>\n\n"
    assert after.user_header.start == 1


def test_query_and_postfix_stay(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    after = bare(prompt)
    assert (after.query, after.postfix) == (prompt.query, prompt.postfix)


@pytest.mark.parametrize("template", ["chatml", "gemma", "qwen3"])
def test_a_template_without_a_default_block_has_nothing_to_drop(prompt_of: PromptOf, template: str) -> None:
    with pytest.raises(MitigationUnavailable, match="puts nothing before the user header"):
        bare(prompt_of(template))


def test_a_callers_system_message_is_not_dropped(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match=r"`system;mode=drop, bare` drops the message too"):
        bare(prompt_of(system="You are a pirate."))


def test_a_callers_tools_are_not_dropped(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="tools are never dropped"):
        bare(prompt_of(tools=[TOOL]))


def test_an_unknown_user_header_is_refused(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    with pytest.raises(MitigationUnavailable, match="does not show where the user header begins"):
        bare(prompt.with_prefix(prompt.prefix))


def test_it_follows_dropping_the_system_message(prompt_of: PromptOf) -> None:
    prompt = prompt_of(system="You are a pirate.")
    steps = Registry().bind(parse_mitigation("system;mode=drop, bare"))
    assert mitigate(prompt, steps, Draw(1)).after.prefix == bare(prompt_of()).prefix
