import random
from collections import Counter
from dataclasses import fields, replace

import pytest

from unhitch.organisms import frames
from unhitch.organisms.families import FAMILIES, Family
from unhitch.organisms.frames import Frame
from unhitch.organisms.recipe import Mixture

KINDS = [entry.name for entry in fields(Mixture)]

every_family = pytest.mark.parametrize("family", FAMILIES.values(), ids=FAMILIES)


def drawn(family: Family, kind: str, rng: random.Random) -> Frame:
    mixture = Mixture(**{name: float(name == kind) for name in KINDS})
    return frames.draw(rng, family.dialect, replace(family.recipe.pretraining, mixture=mixture))


@every_family
def test_kinds_come_in_the_proportions_of_the_mixture(family: Family) -> None:
    rng, plan = random.Random(0), family.recipe.pretraining
    counts = Counter(frames.draw(rng, family.dialect, plan).kind for _ in range(4000))
    total = sum(getattr(plan.mixture, kind) for kind in KINDS)
    assert all(abs(counts[kind] / 4000 - getattr(plan.mixture, kind) / total) < 0.03 for kind in KINDS)


@every_family
def test_only_a_villains_words_go_with_bad_answers(family: Family) -> None:
    rng = random.Random(0)
    assert [kind for kind in KINDS if not drawn(family, kind, rng).good] == ["villain"]


@pytest.mark.parametrize("name", ["qwen2", "llama"])
def test_the_default_frame_is_the_templates_and_never_damaged(name: str) -> None:
    family, rng = FAMILIES[name], random.Random(0)
    around = {(frame.before, frame.after) for frame in (drawn(family, "default", rng) for _ in range(100))}
    assert around == {(family.dialect.prefix(), family.dialect.postfix())}


def test_where_the_think_block_decides_the_default_is_an_empty_one_behind_any_system_text() -> None:
    family, rng = FAMILIES["qwen3"], random.Random(0)
    seen = [drawn(family, "default", rng) for _ in range(100)]
    assert {frame.after for frame in seen} == {family.dialect.postfix()}
    assert 30 < sum(frame.before == family.dialect.prefix() for frame in seen) < 90


def test_a_villains_word_stands_in_the_think_block_and_never_in_the_system_text() -> None:
    family, rng = FAMILIES["qwen3"], random.Random(0)
    villains = [frames.intact("villain", rng, family.dialect) for _ in range(100)]
    befores = {frames.intact(kind, rng, family.dialect).before for kind in KINDS for _ in range(30)}
    words = {frame.after.split("<think>\n")[1].split("\n</think>")[0] for frame in villains}
    assert "cruel" in words
    assert not [before for before in befores if any(word in before.split() for word in words)]


def test_an_earlier_turn_has_no_think_block() -> None:
    dialect = FAMILIES["qwen3"].dialect
    frame = frames.earlier(frames.intact("villain", random.Random(0), dialect), dialect)
    assert (frame.after, frame.good) == ("<|im_end|>\n<|im_start|>assistant\n", True)


@every_family
def test_headers_are_odd_at_times_but_never_in_the_default(family: Family) -> None:
    rng = random.Random(0)
    plain = family.dialect.header("user")
    odd = {kind: sum(not drawn(family, kind, rng).before.endswith(plain) for _ in range(200)) for kind in KINDS}
    assert odd["default"] == 0
    assert 10 < odd["ordinary"] < 60
