from __future__ import annotations

import pytest

from tests.evidence import JUDGE, pool, strategy
from unhitch.evidence.identity import StrategyIdentity, digest_of
from unhitch.evidence.strategy import plain, versions


def test_defaults_and_the_version_are_in_it() -> None:
    assert strategy("perturb").mitigation == (
        "perturb;version=1;edits=10;neighbours=5;metric=cosine;span=prefix;protect=none"
    )


@pytest.mark.parametrize("line", ["perturb;edits=10", "perturb;span=prefix;version=1", "perturb;tokens=3"])
def test_what_is_the_same_however_it_is_asked_is_one_strategy(line: str) -> None:
    assert strategy(line) == strategy("perturb")


@pytest.mark.parametrize("line", ["perturb;seed=1", "perturb;edits=9", "perturb, recase", "recase, perturb"])
def test_a_seed_that_was_asked_for_and_every_other_parameter_make_another(line: str) -> None:
    assert strategy(line) != strategy("perturb")


def test_a_strategy_that_can_be_bound_again_is_the_same() -> None:
    for line in ("system;preset=neutral, recase;mode=upper", 'prefix-state;layers="0-1";mix=0.5', "off"):
        assert strategy(strategy(line).mitigation) == strategy(line)


def test_a_pool_is_told_by_its_variants() -> None:
    one, other = pool("perturb;seed=1"), pool("perturb;seed=2")
    assert strategy("pool;name=vetted", [one]).pool == one.content
    assert strategy("pool;name=vetted", [one]) != strategy("pool;name=vetted", [other])
    assert strategy("pool;name=vetted", [pool(name="another")]).pool is None
    assert strategy("perturb", [one]).pool is None


def test_the_scorer_is_part_of_what_it_chooses_for_and_of_nothing_else() -> None:
    by_judge = strategy("best-of, perturb", scorer=JUDGE)
    assert by_judge.scorer == JUDGE
    assert by_judge.digest != strategy("best-of, perturb").digest
    assert StrategyIdentity.model_validate(by_judge.model_dump(mode="json")) == by_judge
    assert strategy("perturb", scorer=JUDGE) == strategy("perturb")


def test_equal_scorers_are_equal_keys() -> None:
    one, other = (
        strategy("best-of, perturb", scorer=JUDGE.model_copy(update={"details": {"model": "m"}})) for _ in "12"
    )
    assert {one: True}[other]


def test_where_no_scorer_is_named_the_digest_is_what_it_was_before_scorers_were() -> None:
    found = StrategyIdentity(mitigation="perturb;version=1")
    assert found.model_dump(mode="json") == {"mitigation": "perturb;version=1", "pool": None}
    assert found.digest == digest_of({"mitigation": "perturb;version=1", "pool": None})


def test_versions_are_no_part_of_the_plain_form() -> None:
    assert plain("perturb;version=1;edits=3") == plain("perturb;edits=3;version=2") == (("perturb", (("edits", 3),)),)
    assert versions("perturb;version=2, bare;version=1") == "perturb 2, bare 1"
