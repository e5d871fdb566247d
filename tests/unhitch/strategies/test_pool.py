from __future__ import annotations

import pytest

from tests.evidence import MODEL, VARIANTS, informed, pool
from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.errors import BadParameter, MitigationUnavailable
from unhitch.headers import format_applied, format_receipt, parse_mitigation
from unhitch.mitigation import Mitigated, mitigate
from unhitch.registry import Registry
from unhitch.rendering.prompt import Prompt


def applied(prompt: Prompt, line: str, seed: int = 5) -> Mitigated:
    return mitigate(prompt, Registry().bind(parse_mitigation(line)), Draw(seed))


def test_one_variant_is_applied_and_named_with_all_that_redoes_it(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    drawn = applied(informed(prompt), "pool;name=vetted")
    line = format_applied(drawn.applied)
    assert "pool" not in line
    assert applied(prompt, line, seed=999).after.token_ids == drawn.after.token_ids


def test_each_index_is_a_variant(prompt_of: PromptOf) -> None:
    prompt = informed(prompt_of())
    for index, variant in enumerate(VARIANTS):
        by_index = applied(prompt, f"pool;name=vetted;index={index}")
        assert by_index.after.token_ids == applied(prompt, variant).after.token_ids


def test_the_draw_decides_which_variant_and_all_are_drawn(prompt_of: PromptOf) -> None:
    prompt = informed(prompt_of())
    drawn = [applied(prompt, "pool;name=vetted", seed=seed).after.token_ids for seed in range(30)]
    assert drawn == [applied(prompt, "pool;name=vetted", seed=seed).after.token_ids for seed in range(30)]
    assert len(set(drawn)) == len(VARIANTS)


def test_a_seed_goes_before_the_draw(prompt_of: PromptOf) -> None:
    prompt = informed(prompt_of())
    seeded = {applied(prompt, "pool;name=vetted;seed=4", seed=seed).after.token_ids for seed in range(10)}
    assert seeded == {applied(prompt, "pool;name=vetted", seed=4).after.token_ids}


def test_the_steps_around_it_stay_around_it(prompt_of: PromptOf) -> None:
    result = applied(informed(prompt_of()), "system;preset=tutor, pool;name=vetted;index=2, recase;seed=1")
    assert [entry.name for entry in result.applied] == ["system", "respace", "recase"]


def test_a_variant_may_be_of_several_steps(prompt_of: PromptOf) -> None:
    prompt = informed(prompt_of(), pool("system;preset=tutor, perturb;seed=3"))
    assert [entry.name for entry in applied(prompt, "pool;name=vetted").applied] == ["system", "perturb"]


def test_the_receipt_names_the_pools_variants(prompt_of: PromptOf) -> None:
    receipt = applied(informed(prompt_of()), "pool;name=vetted").receipt("tuned")
    assert receipt.pool == bytes.fromhex(pool().content)
    assert "pool=:" in format_receipt(receipt)
    assert "scorecard" not in format_receipt(receipt)


def test_an_index_that_the_pool_lacks_is_refused_with_its_range(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="has 3 variants, 0 to 2"):
        applied(informed(prompt_of()), "pool;name=vetted;index=3")


def test_a_pool_that_is_not_there_is_refused_with_those_there_are(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match=r"there is no pool 'other'. Pools for 'tuned': vetted"):
        applied(informed(prompt_of()), "pool;name=other")


def test_a_pool_for_another_model_is_refused_with_the_digest_that_differs(prompt_of: PromptOf) -> None:
    other = pool(name="theirs", model=MODEL.model_copy(update={"template": "9" * 64}))
    with pytest.raises(MitigationUnavailable, match=r"\(template 99999999 there, dddddddd here\)"):
        applied(informed(prompt_of(), other), "pool;name=theirs")


def test_without_evidence_it_is_unavailable(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="start it with --evidence DIR"):
        applied(prompt_of(), "pool;name=vetted")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("pool", "`pool` needs `name`"),
        ("pool;name=vetted;index=1;seed=2", "give one of them"),
        ("pool;name=vetted;index=-1", "of at least 0"),
    ],
)
def test_what_it_cannot_draw_by_is_refused(line: str, said: str) -> None:
    with pytest.raises(BadParameter, match=said):
        Registry().bind(parse_mitigation(line))
