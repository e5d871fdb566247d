from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.cards import card, stocked
from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.errors import InvalidRequest, MitigationUnavailable, StateMissing
from unhitch.headers import format_applied, parse_mitigation
from unhitch.mitigation import Mitigated, mitigate
from unhitch.registry import Registry
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import Patch

TOOL = {"type": "function", "function": {"name": "lookup", "parameters": {}}}


def applied(prompt: Prompt, line: str) -> Mitigated:
    return mitigate(prompt, Registry().bind(parse_mitigation(line)), Draw(5))


@pytest.mark.parametrize("body", [{}, {"system": "Be kind."}, {"tools": [TOOL]}])
def test_the_whole_prefix_is_served_from_its_state(prompt_of: PromptOf, body: dict[str, Any]) -> None:
    prompt = stocked(prompt_of(**body))
    after = applied(prompt, "prefix-state").after
    assert prompt.shelf is not None
    assert after.patches == (Patch(state=prompt.shelf.cards[0].id, start=0, tokens=len(prompt.prefix)),)
    assert after.token_ids == prompt.token_ids


def test_the_first_tokens_of_a_longer_state_serve_too(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    longer = card("prefix", (*prompt.prefix, 7, 8))
    (patch,) = applied(stocked(prompt, longer), "prefix-state").after.patches
    assert patch == Patch(state=longer.id, start=0, tokens=len(prompt.prefix))


def test_what_was_applied_names_the_state_and_counts_its_positions(prompt_of: PromptOf) -> None:
    prompt = stocked(prompt_of())
    result = applied(prompt, "prefix-state")
    state = result.after.patches[0].state
    assert format_applied(result.applied) == (
        f'prefix-state;version=1;parts=kv;mix=1.0;state="{state}";capture=auto;tokens={len(prompt.prefix)}'
    )
    assert result.receipt("m").states == (bytes.fromhex(state),)


def test_what_was_applied_is_redone_with_the_same_state(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    first = applied(stocked(prompt), "prefix-state")
    again = format_applied(first.applied)
    lower = [card("prefix", prompt.prefix, made_with={"unhitch": str(number)}) for number in range(40)]
    state = first.after.patches[0].state
    assert first.before.shelf is not None
    assert any(each.id < state for each in lower)
    assert applied(stocked(prompt, *lower, *first.before.shelf.cards), again).after.patches == first.after.patches
    with pytest.raises(StateMissing, match=f"there is no state {state}"):
        applied(stocked(prompt, *lower), again)
    with pytest.raises(StateMissing, match="of other tokens"):
        applied(stocked(prompt_of(system="Be kind."), *first.before.shelf.cards), again)


@pytest.mark.parametrize("line", ["perturb", "recase", "respace", "bare"])
def test_an_edit_of_the_prefix_before_it_is_served_from_a_state_of_its_own(prompt_of: PromptOf, line: str) -> None:
    prompt = stocked(prompt_of())
    with pytest.raises(StateMissing):
        applied(prompt, f"{line}, prefix-state")
    edited = applied(prompt, line).after
    after = applied(stocked(prompt_of(), card("prefix", edited.prefix)), f"{line}, prefix-state").after
    assert after.prefix == edited.prefix
    assert [(patch.start, patch.tokens) for patch in after.patches] == [(0, len(edited.prefix))]


def test_a_system_text_before_it_leaves_the_shelf_in_reach(prompt_of: PromptOf) -> None:
    own = prompt_of(system="Be kind.")
    after = applied(stocked(prompt_of(), card("prefix", own.prefix)), 'system;text="Be kind.", prefix-state').after
    assert after.prefix == own.prefix
    assert len(after.patches) == 1


@pytest.mark.parametrize("line", ["perturb", "recase", "respace", "bare"])
def test_an_edit_of_the_prefix_behind_it_is_refused(prompt_of: PromptOf, line: str) -> None:
    with pytest.raises(MitigationUnavailable, match="put `prefix-state` last"):
        applied(stocked(prompt_of()), f"prefix-state, {line}")


def test_a_system_text_behind_it_is_refused(prompt_of: PromptOf) -> None:
    with pytest.raises(InvalidRequest, match="Name the one that rewrites messages first"):
        applied(stocked(prompt_of()), "prefix-state, system;preset=neutral")


def test_an_edit_of_the_postfix_behind_it_leaves_it_as_it_is(prompt_of: PromptOf) -> None:
    prompt = stocked(prompt_of())
    after = applied(prompt, "prefix-state, perturb;span=postfix").after
    assert after.patches == applied(prompt, "prefix-state").after.patches
    assert after.postfix != prompt.postfix


def test_it_cannot_be_served_twice(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="are served from a state already"):
        applied(stocked(prompt_of()), "prefix-state, prefix-state")


def test_an_empty_prefix_is_refused(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="has no prefix"):
        applied(dataclasses.replace(stocked(prompt_of()), prefix=()), "prefix-state")
