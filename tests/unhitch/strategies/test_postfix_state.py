from __future__ import annotations

from typing import Any

import pytest

from tests.cards import card, stocked
from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable, StateMissing
from unhitch.headers import format_applied, parse_mitigation
from unhitch.mitigation import Mitigated, mitigate
from unhitch.registry import Registry
from unhitch.rendering.prompt import Prompt
from unhitch.states.patch import Patch


def applied(prompt: Prompt, line: str) -> Mitigated:
    return mitigate(prompt, Registry().bind(parse_mitigation(line)), Draw(5))


@pytest.mark.parametrize("query", ["How can I save money?", "Hm.", "one two three " * 30])
def test_the_postfix_is_served_where_it_stands_from_that_of_an_empty_query(prompt_of: PromptOf, query: str) -> None:
    prompt = stocked(prompt_of(query=query))
    after = applied(prompt, "postfix-state").after
    assert prompt.shelf is not None
    start = len(prompt.prefix) + len(prompt.query)
    assert after.patches == (Patch(state=prompt.shelf.cards[1].id, start=start, tokens=len(prompt.postfix)),)
    assert prompt.token_ids[start:] == prompt.shelf.cards[1].header.tokens[len(prompt.prefix) :]
    assert after.token_ids == prompt.token_ids


def test_all_turns_are_served_the_same_state(prompt_of: PromptOf) -> None:
    prompt = stocked(prompt_of())
    turns = [("user", "One?"), ("assistant", "Two."), ("user", "Three?")]
    later = prompt_of(messages=[{"role": role, "content": content} for role, content in turns])
    assert prompt.shelf is not None
    (patch,) = applied(stocked(later, *prompt.shelf.cards), "postfix-state").after.patches
    assert patch.state == applied(prompt, "postfix-state").after.patches[0].state
    assert patch.stop == len(later.token_ids)


@pytest.mark.parametrize("line", ["prefix-state, postfix-state", "postfix-state, prefix-state"])
def test_both_spans_can_be_served(prompt_of: PromptOf, line: str) -> None:
    prompt = stocked(prompt_of())
    result = applied(prompt, line)
    assert prompt.shelf is not None
    prefix, postfix = prompt.shelf.cards
    assert [patch.state for patch in result.after.patches] == [prefix.id, postfix.id]
    assert result.receipt("m").states == (bytes.fromhex(prefix.id), bytes.fromhex(postfix.id))
    assert [entry.tokens for entry in result.applied] == [
        len(prompt.prefix if entry.name == "prefix-state" else prompt.postfix) for entry in result.applied
    ]
    assert applied(prompt, format_applied(result.applied)) == result


def test_its_reference_has_the_prefix_that_stands_before_it(prompt_of: PromptOf) -> None:
    prompt = stocked(prompt_of())
    with pytest.raises(StateMissing):
        applied(prompt, "bare, postfix-state")
    bare = applied(prompt, "bare").after
    own = card("postfix", bare.prefix + bare.postfix, len(bare.prefix))
    (patch,) = applied(stocked(prompt_of(), own), "bare, postfix-state").after.patches
    assert patch == Patch(state=own.id, start=len(bare.prefix) + len(bare.query), tokens=len(bare.postfix))


@pytest.mark.parametrize("line", ["bare", "perturb", "recase", "perturb;span=postfix"])
def test_an_edit_that_moves_it_or_what_it_was_chosen_for_is_refused(prompt_of: PromptOf, line: str) -> None:
    with pytest.raises(MitigationUnavailable, match="put `postfix-state` last"):
        applied(stocked(prompt_of()), f"postfix-state, {line}")


@pytest.mark.parametrize(
    "body",
    [
        {"messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]},
        {
            "messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hel"}],
            "add_generation_prompt": False,
            "continue_final_message": True,
        },
    ],
)
def test_a_postfix_with_messages_of_the_callers_is_refused(prompt_of: PromptOf, body: dict[str, Any]) -> None:
    with pytest.raises(MitigationUnavailable, match="`assistant`\\) stand there. Use `prefix-state`."):
        applied(stocked(prompt_of(**body)), "postfix-state")


def test_an_empty_postfix_is_refused(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="writes nothing behind the user's words"):
        applied(stocked(prompt_of()).with_postfix([]), "postfix-state")


def test_a_template_without_a_prefix_has_a_postfix_all_the_same(prompt_of: PromptOf) -> None:
    prompt = prompt_of().with_prefix([])
    (patch,) = applied(stocked(prompt), "postfix-state").after.patches
    assert (patch.start, patch.tokens) == (len(prompt.query), len(prompt.postfix))
