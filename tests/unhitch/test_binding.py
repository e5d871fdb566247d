from __future__ import annotations

from typing import Any

import pytest
from pydantic import Field

from unhitch.binding import bind_one
from unhitch.draw import Draw
from unhitch.errors import BadParameter
from unhitch.headers import Asked, Value
from unhitch.rendering.prompt import Prompt
from unhitch.strategies.perturb import Perturb, PerturbParameters
from unhitch.strategies.system import System
from unhitch.strategy import Parameters, Strategy


class BlendParameters(Parameters):
    mix: float = Field(default=0.5, gt=0, le=1, description="A share.")
    whole: bool = Field(default=False, description="A switch.")
    label: str = Field(default="x", min_length=1, max_length=5, description="A text.")
    above: int = Field(default=1, ge=1, description="A count.")


class Blend(Strategy[BlendParameters]):
    name = "blend"
    version = 3
    summary = "nothing; declares parameters of each type"
    source = "tests"
    parameters = BlendParameters

    def edit(self, prompt: Prompt, parameters: BlendParameters, draw: Draw) -> Prompt:
        return prompt


def bound(strategy: Strategy[Any], **parameters: Value) -> Parameters:
    return bind_one(strategy, Asked(strategy.name, parameters)).parameters


def test_parameters_that_are_not_given_have_their_defaults() -> None:
    assert bound(Perturb(), edits=3) == PerturbParameters(edits=3)


def test_an_integer_is_a_decimal_where_one_is_expected() -> None:
    assert bound(Blend(), mix=1) == BlendParameters(mix=1.0)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"edits": 0}, "`perturb;edits=0`: `edits` is an integer from 1 to 1000."),
        ({"edits": "ten"}, '`perturb;edits="ten"`: `edits` is an integer from 1 to 1000.'),
        ({"edits": True}, "`perturb;edits=?1`: `edits` is an integer from 1 to 1000."),
        ({"edits": 2.5}, "`perturb;edits=2.5`: `edits` is an integer from 1 to 1000."),
        ({"seed": -1}, "`perturb;seed=-1`: `seed` is an integer from 0 to 999999999999999."),
        ({"metric": "manhattan"}, '`perturb;metric="manhattan"`: `metric` is one of cosine, dot.'),
        ({"metric": 1}, "`perturb;metric=1`: `metric` is one of cosine, dot."),
        (
            {"edit": 3},
            "`perturb` has no parameter `edit`. Did you mean `edits` or `seed`? It has `seed`, `edits`, `neighbours`, "
            "`metric`, `span`, `protect`.",
        ),
    ],
)
def test_the_message_names_value_and_range(parameters: dict[str, Value], message: str) -> None:
    with pytest.raises(BadParameter) as caught:
        bound(Perturb(), **parameters)
    assert caught.value.message == message
    assert caught.value.param == next(iter(parameters))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"mix": 0}, "`blend;mix=0`: `mix` is a number above 0 and of at most 1"),
        ({"mix": "much"}, "`mix` is a number"),
        ({"whole": 1}, r"`blend;whole=1`: `whole` is \?1 \(true\) or \?0 \(false\)"),
        ({"label": ""}, "`label` is a string of 1 to 5 characters"),
        ({"label": 5}, "`label` is a string"),
        ({"above": 0}, "`above` is an integer of at least 1"),
        ({"mix": 0.0625}, "a decimal has at most 12 digits before and 3 after the point"),
        ({"mix": float("nan")}, "a decimal has"),
        ({"mix": 1e15}, "a decimal has"),
        ({"above": 10**15}, "an integer has at most 15 digits"),
        ({"label": "\ud800"}, "half a surrogate pair"),
    ],
)
def test_every_type_of_parameter_says_what_it_allows(parameters: dict[str, Value], message: str) -> None:
    with pytest.raises(BadParameter, match=message):
        bound(Blend(), **parameters)


def test_a_long_value_is_cut_in_the_message() -> None:
    with pytest.raises(BadParameter) as caught:
        bound(Blend(), label="y" * 5000)
    assert len(caught.value.message) < 300


def test_a_strategy_without_parameters_says_so() -> None:
    from unhitch.strategies.bare import Bare

    with pytest.raises(BadParameter, match="`bare` has no parameter `depth`. It has none."):
        bound(Bare(), depth=1)


def test_the_version_of_an_earlier_answer_must_be_installed() -> None:
    with pytest.raises(BadParameter, match="`blend;version=2` was asked for, and version 3 is installed"):
        bound(Blend(), version=2)


def test_the_installed_version_is_accepted() -> None:
    assert bound(Blend(), version=3) == BlendParameters()


def test_the_tokens_of_an_earlier_answer_are_kept_for_the_check() -> None:
    assert bind_one(Blend(), Asked("blend", {"tokens": 4})).tokens == 4


@pytest.mark.parametrize("tokens", [-1, True, "4", 1.5])
def test_tokens_that_are_no_count_are_refused(tokens: Value) -> None:
    with pytest.raises(BadParameter, match="the number of changed tokens is an integer of at least 0"):
        bound(Blend(), tokens=tokens)


def test_a_flag_of_an_earlier_answer_is_accepted_where_it_holds() -> None:
    assert bound(System(), text="Do not lie.", negation=True) == bound(System(), text="Do not lie.")


@pytest.mark.parametrize(
    ("text", "negation"), [("Tell the truth.", True), ("Do not lie.", False), ("Do not lie.", "yes")]
)
def test_a_flag_that_does_not_hold_is_an_unknown_parameter(text: str, negation: Value) -> None:
    with pytest.raises(BadParameter, match="has no parameter `negation`"):
        bound(System(), text=text, negation=negation)
