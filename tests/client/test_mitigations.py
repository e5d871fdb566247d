import dataclasses
from typing import get_type_hints

import pytest

from unhitch import headers
from unhitch.errors import HeaderError
from unhitch.registry import Registry
from unhitch_client import (
    Auto,
    Bare,
    BestOf,
    Mitigation,
    Off,
    Perturb,
    Pool,
    PostfixState,
    PrefixState,
    Recase,
    Respace,
    System,
)
from unhitch_client.mitigations import BuiltIn, entries, header_value

TYPED: tuple[type[BuiltIn], ...] = (
    Off,
    System,
    Recase,
    Respace,
    Perturb,
    Bare,
    PrefixState,
    PostfixState,
    Pool,
    BestOf,
    Auto,
)
PARAMETERLESS = {"off", "bare"}


def test_every_built_in_strategy_has_a_typed_mitigation() -> None:
    assert [typed.strategy for typed in TYPED] == list(Registry().names)


@pytest.mark.parametrize("typed", TYPED)
def test_fields_have_the_names_defaults_and_choices_of_the_strategy(typed: type[BuiltIn]) -> None:
    strategy = Registry().get(typed.strategy)
    hints = get_type_hints(typed)
    ours = {field.name: (hints[field.name], field.default) for field in dataclasses.fields(typed)}
    theirs = {
        key: (info.annotation, dataclasses.MISSING if info.is_required() else info.default)
        for key, info in strategy.parameters.model_fields.items()
    }
    assert ours == theirs
    assert bool(ours) == (typed.strategy not in PARAMETERLESS)


@pytest.mark.parametrize(
    "mitigation",
    [
        Off(),
        System(text="Be a \N{PILE OF POO} tutor."),
        Recase(),
        Respace(seed=1),
        Perturb(),
        Bare(),
        PrefixState(),
        PrefixState(layers="8-15", parts="k", mix=0.25, state="a1" * 32, capture="never"),
        PostfixState(residual=3),
        Pool(name="vetted"),
        Pool(name="Two Words", index=3),
        Auto(),
        Auto(seed=4),
    ],
)
def test_the_registry_binds_what_a_typed_mitigation_sends(mitigation: BuiltIn) -> None:
    sent = header_value(entries(mitigation))
    (step,) = Registry().bind(headers.parse_mitigation(sent))
    assert step.strategy.name == mitigation.strategy
    assert {key: getattr(step.parameters, key) for key in mitigation.parameters} == mitigation.parameters


def test_the_registry_binds_the_best_of_the_draws_of_another() -> None:
    sent = header_value(entries(BestOf(n=3), Perturb(seed=7)))
    first, second = Registry().bind(headers.parse_mitigation(sent))
    assert (first.strategy.name, second.strategy.name) == ("best-of", "perturb")
    assert first.parameters.model_dump() == {"n": 3}


def test_a_field_that_is_none_is_not_sent() -> None:
    assert header_value(entries(System(text="x"))) == "system;mode=replace;text=x"


def test_a_mitigation_of_a_plugin_takes_any_parameters() -> None:
    sent = header_value(entries(Mitigation("their-own", name="Two Words", share=0.25, fast=True, times=3)))
    assert sent == 'their-own;name="Two Words";share=0.25;fast;times=3'


def test_a_text_may_name_several_strategies() -> None:
    assert [entry.name for entry in entries("bare, perturb;edits=3", Recase())] == ["bare", "perturb", "recase"]


def test_mitigations_with_equal_parameters_are_equal() -> None:
    assert Mitigation("x", a=1) == Mitigation("x", a=1)
    assert Mitigation("x", a=1) != Mitigation("x", a=2)
    assert len({Mitigation("x", a=1), Mitigation("x", a=1)}) == 1


def test_the_representation_of_a_mitigation_makes_it_again() -> None:
    mitigation = Mitigation("their-own", text="Two Words", times=3)
    assert eval(repr(mitigation)) == mitigation  # noqa: S307


@pytest.mark.parametrize("text", ["", "perturb;edits=", "perturb;edits=1;edits=2", "(a b)"])
def test_a_text_that_does_not_parse_is_refused(text: str) -> None:
    with pytest.raises(HeaderError, match="Unhitch-Mitigation"):
        entries(text)


def test_a_decimal_that_a_header_would_round_is_refused() -> None:
    with pytest.raises(HeaderError, match=r"share=0\.0625"):
        entries(Mitigation("their-own", share=0.0625))


@pytest.mark.parametrize(
    "mitigation",
    [
        Mitigation("two words"),
        Mitigation("x", times=10**15),
        Mitigation("x", Key=1),
        Mitigation("x", share=float("inf")),
    ],
)
def test_what_has_no_form_in_a_header_is_refused(mitigation: Mitigation) -> None:
    with pytest.raises(HeaderError, match="cannot be written as a header"):
        header_value(entries(mitigation))
