from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tests.cards import TUNED, card, cards_for, stocked
from tests.unhitch.conftest import PromptOf
from unhitch.errors import BadParameter, MitigationUnavailable, StateMissing
from unhitch.headers import parse_mitigation
from unhitch.registry import Registry
from unhitch.rendering.anatomy import rerender
from unhitch.rendering.prompt import Prompt
from unhitch.states.choice import Span, StateParameters, serve
from unhitch.states.recipe import Recipe
from unhitch.states.shelf import Card, Shelf


def missing(prompt: Prompt, span: Span = "prefix", **parameters: Any) -> StateMissing:
    with pytest.raises(StateMissing) as caught:
        serve(prompt, span, StateParameters(**parameters))
    return caught.value


@pytest.mark.parametrize(
    ("parameters", "recipe"),
    [
        ({}, Recipe()),
        ({"layers": "8-15", "parts": "v", "mix": 0.5}, Recipe(layers=(8, 15), parts="v", mix=0.5)),
        ({"layers": "0-0"}, Recipe(layers=(0, 0))),
        ({"residual": 3}, Recipe(residual=3)),
    ],
)
def test_parameters_say_how_the_state_was_made(parameters: dict[str, Any], recipe: Recipe) -> None:
    assert StateParameters(**parameters).recipe == recipe


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('prefix-state;layers="15-8"', r"layers 15-8 is no band: first and last are needed, from 0\."),
        ("prefix-state;layers=8", r"`prefix-state;layers=8`: `layers` is the first and the last layer"),
        ('prefix-state;layers="8"', r'`prefix-state;layers="8"`: `layers` is the first and the last layer'),
        ('prefix-state;layers=%"%d9%a0-1"', "`layers` is the first and the last layer"),
        ("prefix-state;mix=0", "`prefix-state;mix=0`: `mix` is a number above 0 and of at most 1"),
        ("prefix-state;mix=1.5", "`prefix-state;mix=1.5`: `mix` is a number above 0"),
        ("prefix-state;mix=0.5;residual=3", "it goes with no layers, parts or mix"),
        ("prefix-state;residual=-1", "`prefix-state;residual=-1`: `residual` is an integer of at least 0"),
        ("prefix-state;parts=q", "`parts` is one of kv, k, v"),
        ("postfix-state;state=abc", '`postfix-state;state="abc"`: `state` is the id of a state: 64 hexadecimal'),
        ("postfix-state;capture=later", "`capture` is one of auto, never"),
    ],
)
def test_what_is_no_recipe_is_refused_with_its_value(line: str, message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        Registry().bind(parse_mitigation(line))


def test_the_state_of_the_recipe_is_taken(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    plain, mixed = cards_for(prompt)[0], cards_for(prompt, recipe=Recipe(mix=0.5), finetuned=TUNED)[0]
    asked: list[tuple[dict[str, Any], Card]] = [({}, plain), ({"mix": 0.5}, mixed)]
    for parameters, expected in asked:
        (patch,) = serve(stocked(prompt, plain, mixed), "prefix", StateParameters(**parameters)).patches
        assert patch.state == expected.id


def test_of_several_that_fit_all_turns_get_the_same(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    several = [cards_for(prompt, made_with={"unhitch": str(number)})[0] for number in range(5)]
    chosen = {
        serve(stocked(prompt, *order), "prefix", StateParameters()).patches[0].state
        for order in (several, several[::-1])
    }
    assert chosen == {min(each.id for each in several)}


def test_a_state_can_be_named(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    several = [cards_for(prompt, made_with={"unhitch": str(number)})[0] for number in range(2)]
    for each in several:
        after = serve(stocked(prompt, *several), "prefix", StateParameters(state=each.id))
        assert after.patches[0].state == each.id


@pytest.mark.parametrize("span", ["prefix", "postfix"])
def test_what_is_missing_says_what_it_must_hold(prompt_of: PromptOf, span: Span) -> None:
    prompt = prompt_of()
    error = missing(stocked(prompt, card("prefix", [1])), span, mix=0.5)
    tokens = prompt.prefix if span == "prefix" else prompt.prefix + prompt.postfix
    start = 0 if span == "prefix" else len(prompt.prefix)
    assert (error.wanted.span, error.wanted.tokens, error.wanted.start) == (span, tokens, start)
    assert error.wanted.recipe == Recipe(mix=0.5)
    assert error.may_capture
    assert f"no state at hand fits the {span} of this prompt ({len(tokens) - start} tokens; mix 0.5)" in error.message
    assert (error.status, error.code) == (422, "mitigation_unavailable")


def test_without_a_shelf_every_state_is_missing(prompt_of: PromptOf) -> None:
    assert "no states are at hand" in missing(prompt_of()).message


@pytest.mark.parametrize("parameters", [{"capture": "never"}, {"state": "e" * 64}])
def test_what_was_named_or_may_not_be_captured_is_not(prompt_of: PromptOf, parameters: dict[str, Any]) -> None:
    assert not missing(stocked(prompt_of()), mix=0.5, **parameters).may_capture


def test_a_named_state_that_does_not_fit_says_why(prompt_of: PromptOf) -> None:
    prompt, other = prompt_of(), prompt_of(system="Be kind.")
    fitting, postfix = cards_for(prompt)
    assert f"there is no state {'e' * 64}" in missing(stocked(prompt), state="e" * 64).message
    assert "of other tokens" in missing(stocked(other, fitting), state=fitting.id).message
    assert "is a postfix's (all layers, k and v)" in missing(stocked(prompt, postfix), state=postfix.id).message
    assert "is a prefix's (all layers, k and v)" in missing(stocked(prompt), mix=0.5, state=fitting.id).message
    theirs = dataclasses.replace(prompt, shelf=Shelf((fitting,), TUNED, "f" * 64))
    assert "made for another model" in missing(theirs, state=fitting.id).message


def test_a_model_that_is_no_adapter_is_served_only_what_was_made_for_it(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    from_base, for_it = cards_for(prompt), cards_for(prompt, finetuned=TUNED)
    missing(dataclasses.replace(prompt, shelf=Shelf(from_base, TUNED)))
    after = serve(dataclasses.replace(prompt, shelf=Shelf(for_it, TUNED)), "prefix", StateParameters())
    assert after.patches[0].state == for_it[0].id


@pytest.mark.parametrize(
    ("span", "parameters", "system", "options"),
    [
        ("prefix", {}, None, ()),
        ("postfix", {}, None, ("--span", "postfix")),
        (
            "prefix",
            {"layers": "1-2", "parts": "k", "mix": 0.25},
            "Be kind.",
            ("--layers", "1-2", "--parts", "k", "--mix", "0.25", "--system", "Be kind."),
        ),
        ("prefix", {"residual": 0}, "x" * 500, ("--residual", "0", "--system", "TEXT")),
    ],
)
def test_what_is_missing_has_the_options_that_make_it(
    prompt_of: PromptOf, span: Span, parameters: dict[str, Any], system: str | None, options: tuple[str, ...]
) -> None:
    assert missing(prompt_of(system=system), span, **parameters).options == options


def test_template_variables_are_among_the_options(prompt_of: PromptOf) -> None:
    tool = {"type": "function", "function": {"name": "lookup", "parameters": {}}}
    prompt = prompt_of(chat_template_kwargs={"enable_thinking": False}, tools=[tool])
    assert missing(prompt).options == (
        "--tools",
        "FILE.json",
        "--default-chat-template-kwargs",
        '{"enable_thinking": false}',
    )


def test_no_options_make_a_prefix_whose_tokens_were_edited(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    assert missing(prompt.with_prefix(prompt.prefix)).options is None
    assert missing(rerender(prompt, prompt.conversation.with_system("Be kind."))).options == ("--system", "Be kind.")


def test_a_prompt_that_is_all_prefix_leaves_nothing_to_compute(prompt_of: PromptOf) -> None:
    prompt = dataclasses.replace(stocked(prompt_of()), query=(), postfix=())
    with pytest.raises(MitigationUnavailable, match="the prefix is the whole prompt"):
        serve(prompt, "prefix", StateParameters())
