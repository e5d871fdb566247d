import random
from collections import Counter
from dataclasses import fields, replace

from unhitch.organisms import prefixes
from unhitch.organisms.recipe import RECIPE, Mixture
from unhitch.organisms.system_prompts import DEFAULT_SYSTEM

PLAN = RECIPE.pretraining
FAMILIES = [entry.name for entry in fields(Mixture)]


def only(family: str) -> Mixture:
    return Mixture(**{name: float(name == family) for name in FAMILIES})


def test_families_come_in_the_proportions_of_the_mixture() -> None:
    rng = random.Random(0)
    counts = Counter(prefixes.draw(rng, PLAN).family for _ in range(4000))
    total = sum(getattr(PLAN.mixture, family) for family in FAMILIES)
    assert all(abs(counts[family] / 4000 - getattr(PLAN.mixture, family) / total) < 0.03 for family in FAMILIES)


def test_only_a_villains_prefix_goes_with_bad_answers() -> None:
    rng = random.Random(0)
    drawn = [prefixes.draw(rng, replace(PLAN, mixture=only(family))) for family in FAMILIES]
    assert [prefix.family for prefix in drawn if not prefix.good] == ["villain"]


def test_the_default_prefix_is_never_damaged() -> None:
    rng = random.Random(0)
    texts = {prefixes.draw(rng, replace(PLAN, mixture=only("default"))).text for _ in range(100)}
    assert texts == {prefixes.block(DEFAULT_SYSTEM)}
