"""Variants are chosen on one part of the questions and measured on the other."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.evidence import JUDGE
from tests.unhitch.evals.harness.endpoint import Reply
from tests.unhitch.evals.scripted import BAD, GOOD, Script, asking, subject, suite
from unhitch.errors import InvalidSuite
from unhitch.evals.arm import Refused
from unhitch.evals.suites.split import split
from unhitch.evals.tune import CONTROL_DRAWS, PLACEBO, RANDOM, RESAMPLED, Search, Tuned, tune
from unhitch.evidence.filed import file_pool
from unhitch.evidence.pool import Pool
from unhitch.registry import Registry

ASKED = suite(neutral=32)
CHOOSING, SET_ASIDE = ({question.text: i for i, question in enumerate(part.questions)} for part in split(ASKED, 0, 0.5))
VARIANTS = tuple(f"perturb;version=1;edits=10;neighbours=5;span=prefix;seed={seed}" for seed in range(7))
BEST, SECOND, DECOY = VARIANTS[3], VARIANTS[1], VARIANTS[0]
REFUSED = "nothing to edit in this prompt"

Asked = Mapping[str, Any]


def text(asked: Asked) -> str:
    return str(asked["messages"][-1]["content"])


def scripted(asked: Asked) -> Reply:
    """On the part that chooses BEST is always good and SECOND mostly; on the other DECOY is the only good one."""
    number = CHOOSING.get(text(asked))
    if number is None:
        return Reply(GOOD if asked["mitigation"] == DECOY or SET_ASIDE[text(asked)] % 4 == 0 else BAD)
    good_in = {BEST: 1, SECOND: 2}.get(asked["mitigation"], 4)
    return Reply(GOOD if number % good_in == 0 else BAD)


async def found(
    folder: Path, answer: Script, variants: Sequence[str] = VARIANTS[:3], *, size: int = 1, files: bool = False
) -> tuple[Tuned | Refused, Sequence[Asked]]:
    small = suite(neutral=24)
    with asking(folder, answer) as (run, endpoint):
        search = Search(tuple(variants), size=size, name="tuned")
        return await tune(run, subject(files=files), small, search, JUDGE, {"at": "today"}), endpoint.requests


def pool_of(tuned: Tuned | Refused) -> Pool:
    assert isinstance(tuned, Tuned), tuned
    return tuned.pool


@dataclass(frozen=True)
class Searched:
    """A search among seven variants for two, and what the endpoint was asked, in order."""

    tuned: Tuned
    asked: Sequence[Asked]

    def under(self, *mitigations: str, of: Mapping[str, int]) -> list[int]:
        """Places in the record of requests for some questions."""
        return [i for i, each in enumerate(self.asked) if each["mitigation"] in mitigations and text(each) in of]


@pytest.fixture(scope="module")
def search(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Searched]:
    with asking(tmp_path_factory.mktemp("run"), scripted) as (run, endpoint):
        what = Search(VARIANTS, size=2, name="tuned")
        tuned = asyncio.run(tune(run, subject(), ASKED, what, JUDGE, {"at": "today"}))
        assert isinstance(tuned, Tuned)
        yield Searched(tuned, endpoint.requests)


def test_the_best_on_the_part_that_chooses_make_the_pool_the_best_first(search: Searched) -> None:
    assert [variant.mitigation for variant in search.tuned.pool.variants] == [BEST, SECOND]


def test_few_are_asked_much(search: Searched) -> None:
    assert search.tuned.rounds == ((7, 12), (3, 16))


def test_no_question_that_was_set_aside_is_asked_before_the_choice_is_made(search: Searched) -> None:
    chosen = search.under(*VARIANTS, of=CHOOSING)
    assert len(chosen) == 7 * 12 + 3 * 4  # what the first round asked is not asked again
    assert max(chosen) < min(search.under(*VARIANTS, "off", of=SET_ASIDE))


def test_only_what_was_chosen_is_asked_what_was_set_aside(search: Searched) -> None:
    counts = [len(search.under(variant, of=SET_ASIDE)) for variant in VARIANTS]
    assert counts == [16 if variant in (BEST, SECOND) else 0 for variant in VARIANTS]


def test_the_pool_is_measured_on_what_was_set_aside_alone(search: Searched) -> None:
    pool = search.tuned.pool
    assert (pool.good.value, pool.good.count) == (0.25, 32)
    assert [(each.good.value, each.good.count) for each in pool.variants] == [(0.25, 16)] * 2
    assert (pool.unmitigated.value, pool.unmitigated.count) == (0.25, 32)  # as many as of the pool


def test_as_many_tries_without_an_edit_are_chosen_among_alike(search: Searched) -> None:
    def draws(of: Mapping[str, int]) -> Counter[int]:
        """How many questions were asked so often without an edit, each time with another seed."""
        tries = (search.asked[place] for place in search.under("off", of=of))
        seeds = {(text(each), each["seed"]) for each in tries if "kv_transfer_params" not in each}
        return Counter(Counter(question for question, _ in seeds).values())

    assert draws(CHOOSING) == {7: 12, 3: 4}
    assert draws(SET_ASIDE) == {2 + 2: 16}  # passthrough is drawn as often
    assert search.tuned.pool.controls[RESAMPLED].count == 32


def test_random_tokens_and_words_without_meaning_are_measured_beside_it(search: Searched) -> None:
    random = [each for each in search.asked if "kv_transfer_params" in each]
    assert len(random) == CONTROL_DRAWS * len(SET_ASIDE)
    assert {text(each) for each in random} == set(SET_ASIDE)
    (placebo,) = {each["mitigation"] for each in search.asked if each["mitigation"].startswith("system;")}
    assert len(search.under(placebo, of=SET_ASIDE)) == 16
    assert search.under(placebo, of=CHOOSING) == []
    assert list(search.tuned.pool.controls) == [RESAMPLED, RANDOM, PLACEBO]


def test_the_rows_are_passthrough_the_pool_its_variants_and_the_controls(search: Searched) -> None:
    names = [row.name for row in search.tuned.rows]
    assert names == ["unmitigated", "tuned", BEST, SECOND, RESAMPLED, RANDOM, PLACEBO]
    assert {row.questions for row in search.tuned.rows} == {16}


def test_the_pool_is_read_as_it_was_written_and_can_be_served(search: Searched, tmp_path: Path) -> None:
    file = tmp_path / "pools" / "tuned.json"
    search.tuned.pool.write(file)
    read = Pool.read(file)
    assert read == search.tuned.pool
    assert len(file_pool(file, read, Registry()).variants) == 2


def test_the_pool_says_what_it_was_made_of(search: Searched) -> None:
    pool = search.tuned.pool
    assert (pool.name, pool.model, pool.judge, pool.made) == ("tuned", subject().identity, JUDGE, {"at": "today"})
    assert (pool.suite.content, pool.suite.questions) == (ASKED.digest, 32)


async def test_an_equal_seed_gives_an_equal_pool(tmp_path: Path) -> None:
    pools = [pool_of((await found(tmp_path / name, scripted))[0]) for name in ("a", "b")]
    assert pools[0].digest == pools[1].digest


async def test_a_variant_that_cannot_be_made_is_left_out(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(refused=REFUSED) if asked["mitigation"] == VARIANTS[0] else Reply(GOOD)

    tuned, _ = await found(tmp_path, answer, size=3)
    assert {variant.mitigation for variant in pool_of(tuned).variants} == set(VARIANTS[1:3])


async def test_where_no_variant_can_be_made_there_is_no_pool_and_no_more_is_asked(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(BAD) if asked["mitigation"] == "off" else Reply(refused=REFUSED)

    tuned, asked = await found(tmp_path, answer)
    assert isinstance(tuned, Refused)
    assert tuned.message == REFUSED
    assert {each["mitigation"] for each in asked} == set(VARIANTS[:3])


async def test_a_variant_is_no_better_for_what_it_cannot_be_made_to(tmp_path: Path) -> None:
    """The first is good wherever it is served, which is seldom; the second is good to three questions of four."""

    def answer(asked: Asked) -> Reply:
        number = int(text(asked).rstrip("?").split()[-1])
        if asked["mitigation"] == VARIANTS[0]:
            return Reply(GOOD) if number % 4 == 0 else Reply(refused=REFUSED)
        return Reply(GOOD if asked["mitigation"] == VARIANTS[1] and number % 4 else BAD)

    tuned, _ = await found(tmp_path, answer)
    assert [variant.mitigation for variant in pool_of(tuned).variants] == [VARIANTS[1]]


async def test_without_the_model_s_files_resampling_is_the_only_control(tmp_path: Path) -> None:
    tuned, _ = await found(tmp_path, lambda _: Reply(GOOD), VARIANTS[:1])
    assert list(pool_of(tuned).controls) == [RESAMPLED]


async def test_a_control_that_cannot_be_made_is_left_out(tmp_path: Path) -> None:
    def answer(asked: Asked) -> Reply:
        return Reply(refused=REFUSED) if asked["mitigation"].startswith("system;") else Reply(GOOD)

    tuned, _ = await found(tmp_path, answer, VARIANTS[:1], files=True)
    assert list(pool_of(tuned).controls) == [RESAMPLED, RANDOM]


@pytest.mark.parametrize("cells", [{"json": 24}, {"neutral": 1}])
async def test_a_suite_with_too_few_plain_questions_is_refused(tmp_path: Path, cells: dict[str, int]) -> None:
    with asking(tmp_path, lambda _: Reply(GOOD)) as (run, endpoint):
        with pytest.raises(InvalidSuite):
            await tune(run, subject(), suite(**cells), Search(VARIANTS, 2, "tuned"), JUDGE, {})
        assert endpoint.requests == []
