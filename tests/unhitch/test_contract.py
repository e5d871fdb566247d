from __future__ import annotations

from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field

from unhitch.contract import check_contract, choices
from unhitch.draw import Draw
from unhitch.errors import RegistryError
from unhitch.rendering.prompt import Prompt
from unhitch.strategy import Parameters, Strategy


class Sound(Strategy[Parameters]):
    name = "sound"
    version = 1
    summary = "nothing at all"
    source = "tests"

    def edit(self, prompt: Prompt, parameters: Parameters, draw: Draw) -> Prompt:
        return prompt


class OddType(Parameters):
    sizes: list[int] = Field(default=[], description="A list has no form in a header.")


class NumberChoice(Parameters):
    size: Literal[1, 2] = Field(default=1, description="A choice of numbers.")


class Undescribed(Parameters):
    edits: int = 1


class Reserved(Parameters):
    tokens: int = Field(default=1, description="A reserved name.")


class UpperCase(Parameters):
    Edits: int = Field(default=1, description="No key of a header.")


def altered(**attributes: Any) -> type:
    return type("Altered", (Sound,), attributes)


def test_a_sound_class_is_returned() -> None:
    assert check_contract(Sound) is Sound


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (altered(name="Has Spaces"), "`name` is 'Has Spaces'"),
        (altered(name="9lives"), "`name` is '9lives'"),
        (altered(name=None), "`name` is None"),
        (altered(version=0), "`version` is 0"),
        (altered(version=True), "`version` is True"),
        (altered(version="1"), "`version` is '1'"),
        (altered(summary=""), "`summary` is ''"),
        (altered(source="two\nlines"), "`source` is 'two"),
        (altered(parameters=dict), "`parameters` is <class 'dict'>"),
        (altered(parameters=OddType), "parameter `sizes`: the type"),
        (altered(parameters=NumberChoice), "parameter `size`: the type"),
        (altered(parameters=Undescribed), "parameter `edits`: a description is missing"),
        (altered(parameters=Reserved), "parameter `tokens`: the name is reserved"),
        (altered(parameters=UpperCase), "parameter `Edits`: the name is reserved"),
        (Sound(), "is no subclass"),
        (dict, "is no subclass"),
        (None, "is no subclass"),
        (Strategy, "does not define edit"),
    ],
)
def test_a_broken_declaration_is_an_error_that_names_it(broken: object, message: str) -> None:
    with pytest.raises(RegistryError, match=message):
        check_contract(broken)


class Unnamed(Strategy[Parameters]):
    version: ClassVar[int] = 1

    def edit(self, prompt: Prompt, parameters: Parameters, draw: Draw) -> Prompt:
        return prompt


def test_a_missing_declaration_is_an_error() -> None:
    with pytest.raises(RegistryError, match="Unnamed: `name` is None"):
        check_contract(Unnamed)


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [(Literal["a", "b"], ("a", "b")), (Literal["a"] | None, ("a",)), (str, ()), (int | None, ()), (Literal[1], ())],
)
def test_choices_are_those_of_a_literal_of_strings(annotation: object, expected: tuple[str, ...]) -> None:
    assert choices(annotation) == expected
