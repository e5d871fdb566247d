"""What a search tries."""

from __future__ import annotations

import pytest

from tests.unhitch.evals.scripted import checkpoint
from unhitch.draw import Draw
from unhitch.editing.system_presets import PRESETS
from unhitch.evals.variants import EDITS, variants
from unhitch.headers import parse_mitigation
from unhitch.mitigation import Step, mitigate
from unhitch.registry import Registry
from unhitch.rendering.anatomy import render
from unhitch.rendering.conversation import Conversation


def bound(text: str) -> tuple[Step, ...]:
    return Registry().bind(parse_mitigation(text))


@pytest.mark.parametrize("span", ["prefix", "postfix"])
def test_there_are_as_many_different_variants_as_asked_for(span: str) -> None:
    for number in (1, 7, 60, 500):
        found = variants(number, span)  # type: ignore[arg-type]
        assert len(set(found)) == len(found) == number


@pytest.mark.parametrize("span", ["prefix", "postfix"])
def test_every_variant_gives_the_same_edit_whatever_a_request_draws(span: str) -> None:
    asked = Conversation.from_body({"messages": [{"role": "user", "content": "What now?"}]}, content_format="string")
    prompt = render(checkpoint(), asked)
    for text in variants(40, span):  # type: ignore[arg-type]
        made = {mitigate(prompt, bound(text), Draw(seed)).after.token_ids for seed in range(3)}
        assert len(made) == 1, text


def test_only_perturbations_of_the_postfix_reach_it() -> None:
    assert all(text.startswith("perturb;") and ";span=postfix;" in text for text in variants(20, "postfix"))


def test_the_kinds_take_turns_so_that_a_short_search_tries_all() -> None:
    names = [bound(text)[0].strategy.name for text in variants(12)]
    assert {"bare", "recase", "respace", "perturb", "system"} == set(names)


def test_a_long_search_tries_every_preset_and_every_number_of_edits() -> None:
    found = variants(60)
    assert {f"system;preset={name}" for name in PRESETS} <= set(found)
    assert all(any(f"edits={edits};" in text for text in found) for edits in EDITS)


def test_a_longer_search_goes_on_where_a_shorter_one_ends() -> None:
    assert variants(40)[:10] == variants(10)


def test_another_seed_gives_other_draws() -> None:
    drawn = [{text for text in variants(40, seed=seed) if "seed=" in text} for seed in (0, 1000)]
    assert not drawn[0] & drawn[1]
