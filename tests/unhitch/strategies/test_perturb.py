from __future__ import annotations

from typing import Any

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable
from unhitch.neighbours.nearest import nearest
from unhitch.rendering.prompt import Prompt
from unhitch.strategies import perturb as module
from unhitch.strategies.perturb import Perturb, PerturbParameters

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {}}}


def perturbed(prompt: Prompt, seed: int = 1, **parameters: Any) -> Prompt:
    return Perturb().edit(prompt, PerturbParameters(**parameters), Draw(seed))


def changed(before: Prompt, after: Prompt) -> list[int]:
    assert len(before.prefix) == len(after.prefix)
    return [place for place, (a, b) in enumerate(zip(before.prefix, after.prefix, strict=True)) if a != b]


@pytest.mark.parametrize("edits", [1, 3, 10])
def test_so_many_tokens_of_the_prefix_change(prompt_of: PromptOf, edits: int) -> None:
    prompt = prompt_of()
    after = perturbed(prompt, edits=edits)
    assert len(changed(prompt, after)) == edits
    assert (after.query, after.postfix) == (prompt.query, prompt.postfix)


def test_all_tokens_change_where_there_are_fewer(prompt_of: PromptOf) -> None:
    prompt = prompt_of("chatml")
    assert changed(prompt, perturbed(prompt, edits=1000)) == list(range(len(prompt.prefix)))


@pytest.mark.parametrize("metric", ["cosine", "dot"])
@pytest.mark.parametrize("neighbours", [1, 5])
def test_each_becomes_one_of_its_nearest(prompt_of: PromptOf, metric: str, neighbours: int) -> None:
    prompt = prompt_of()
    after = perturbed(prompt, edits=1000, metric=metric, neighbours=neighbours)
    checkpoint = prompt.checkpoint
    near = nearest(checkpoint.path, checkpoint.vocabulary_size, prompt.prefix, metric)  # type: ignore[arg-type]
    pairs = zip(prompt.prefix, after.prefix, strict=True)
    assert all(new in near[old][:neighbours] for old, new in pairs)


def test_every_neighbour_is_drawn_sometimes(prompt_of: PromptOf) -> None:
    prompt = prompt_of("chatml")
    drawn = {perturbed(prompt, seed, edits=1000, neighbours=5).prefix[0] for seed in range(60)}
    assert len(drawn) == 5


def test_every_position_is_drawn_sometimes(prompt_of: PromptOf) -> None:
    prompt = prompt_of("chatml")
    drawn = {place for seed in range(60) for place in changed(prompt, perturbed(prompt, seed, edits=1))}
    assert drawn == set(range(len(prompt.prefix)))


def test_control_tokens_are_kept_where_they_are_protected(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    after = perturbed(prompt, edits=1000, protect="special")
    special = prompt.checkpoint.special_ids
    kept = [place for place, token in enumerate(prompt.prefix) if token in special]
    assert changed(prompt, after) == [place for place in range(len(prompt.prefix)) if place not in kept]
    assert [place for place, token in enumerate(after.prefix) if token in special] == kept


def test_the_user_header_is_kept_where_it_is_protected(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    after = perturbed(prompt, edits=1000, protect="header")
    assert after.prefix[prompt.user_header.start :] == prompt.prefix[prompt.user_header.start :]
    assert after.user_header == prompt.user_header


def test_tool_definitions_keep_their_place(prompt_of: PromptOf) -> None:
    prompt = prompt_of(tools=[TOOL])
    after = perturbed(prompt, edits=1000)
    assert after.tools == prompt.tools
    assert not [place for place in changed(prompt, after) if place in prompt.tools]


def test_the_postfix_can_be_edited_instead(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    after = perturbed(prompt, span="postfix", edits=1000)
    assert after.prefix == prompt.prefix
    assert all(a != b for a, b in zip(prompt.postfix, after.postfix, strict=True))


@pytest.mark.parametrize("protect", ["special", "header"])
def test_control_tokens_of_the_postfix_can_be_protected(prompt_of: PromptOf, protect: str) -> None:
    prompt = prompt_of()
    after = perturbed(prompt, span="postfix", edits=1000, protect=protect)
    special = prompt.checkpoint.special_ids
    assert all((a == b) == (a in special) for a, b in zip(prompt.postfix, after.postfix, strict=True))


def test_a_postfix_with_messages_of_the_callers_is_refused(prompt_of: PromptOf) -> None:
    messages = [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
    with pytest.raises(MitigationUnavailable, match="the last is of role `assistant`"):
        perturbed(prompt_of(messages=messages), span="postfix")


def test_a_continued_message_is_refused_in_the_postfix(prompt_of: PromptOf) -> None:
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hel"}],
        "add_generation_prompt": False,
        "continue_final_message": True,
    }
    with pytest.raises(MitigationUnavailable, match="Use `span=prefix`"):
        perturbed(prompt_of(**body), span="postfix")


def test_an_empty_prefix_is_refused(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    with pytest.raises(MitigationUnavailable, match="no prefix"):
        perturbed(prompt.with_prefix([]))


def test_an_empty_postfix_is_refused(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="writes nothing behind the user's words"):
        perturbed(prompt_of().with_postfix([]), span="postfix")


def test_a_long_prefix_gives_the_same_edit_as_when_it_is_looked_up_whole(
    prompt_of: PromptOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    prompt = prompt_of()
    whole = perturbed(prompt)
    monkeypatch.setattr(module, "_PREFETCHED", 3)
    assert perturbed(prompt) == whole
