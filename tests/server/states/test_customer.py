from __future__ import annotations

from typing import Any

import pytest

from unhitch import organisms
from unhitch.errors import StateMissing
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.states.choice import Wanted
from unhitch.states.recipe import Recipe
from unhitch_server.config import Config
from unhitch_server.states.customer import Customer

BASE_FOLDER = str(organisms.path("mini-base"))
CONFIG = Config(upstream="http://e")


def missing(*, recipe: Recipe | None = None, state: str | None = None, **fields: Any) -> StateMissing:
    wanted = Wanted("prefix", (1, 2), 0, recipe or Recipe(), state)
    return StateMissing("no state", wanted=wanted, may_capture=True, **{"options": (), **fields})


@pytest.fixture(scope="module")
def adapter() -> Customer:
    return Customer("tuned", Checkpoint.open(BASE_FOLDER), "/adapters/tuned", "mini-base")


def test_an_adapters_state_is_made_from_its_base(adapter: Customer) -> None:
    sentence = adapter.command(missing(options=("--system", "Be kind.")), "/states", CONFIG)
    assert sentence == f"Make it: `unhitch capture {BASE_FOLDER} --states /states --system 'Be kind.'`."


def test_a_recipe_in_which_the_finetuned_model_takes_part_names_it(adapter: Customer) -> None:
    error = missing(recipe=Recipe(mix=0.5), options=("--mix", "0.5"))
    assert f"capture {BASE_FOLDER} --finetuned /adapters/tuned --states" in adapter.command(error, "/s", CONFIG)


def test_the_base_of_a_full_finetune_is_left_to_the_reader(adapter: Customer) -> None:
    whole = Customer("whole", adapter.checkpoint, "/models/whole")
    assert "unhitch capture BASE --finetuned /models/whole --states" in whole.command(missing(), "/s", CONFIG)


def test_the_engines_own_template_is_the_commands_too(adapter: Customer) -> None:
    config = Config(upstream="http://e", chat_template="{{ messages }}")
    assert "--chat-template FILE`" in adapter.command(missing(), "/s", config)


def test_no_command_makes_edited_tokens_or_a_state_by_its_id(adapter: Customer) -> None:
    assert "strategies edited the tokens" in adapter.command(missing(options=None), "/s", CONFIG)
    assert adapter.command(missing(state="e" * 64), "/s", CONFIG) == ""
