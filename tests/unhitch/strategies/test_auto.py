from __future__ import annotations

import pytest

from tests.cards import stocked
from tests.evidence import MODEL, informed, pool, scorecard
from tests.unhitch.conftest import PromptOf
from unhitch.draw import Draw
from unhitch.errors import MitigationUnavailable, NotValidated, StateMissing
from unhitch.headers import format_applied, parse_mitigation
from unhitch.mitigation import Mitigated, mitigate
from unhitch.registry import Registry
from unhitch.rendering.prompt import Prompt


def applied(prompt: Prompt, line: str, seed: int = 5) -> Mitigated:
    return mitigate(prompt, Registry().bind(parse_mitigation(line)), Draw(seed))


def test_it_is_the_strategy_whose_scorecard_has_the_highest_lower_bound(prompt_of: PromptOf) -> None:
    prompt = informed(prompt_of(), scorecard("perturb", low=0.7), scorecard("respace", low=0.9))
    assert format_applied(applied(prompt, "auto").applied) == format_applied(applied(prompt, "respace").applied)


def test_the_receipt_names_the_scorecard(prompt_of: PromptOf) -> None:
    card = scorecard("perturb")
    assert applied(informed(prompt_of(), card), "auto").receipt("tuned").scorecard == bytes.fromhex(card.digest)


def test_the_session_or_the_seed_keys_what_it_stands_for(prompt_of: PromptOf) -> None:
    prompt = informed(prompt_of(), scorecard("perturb"))
    assert applied(prompt, "auto", seed=1).after != applied(prompt, "auto", seed=2).after
    assert applied(prompt, "auto;seed=7", seed=1) == applied(prompt, "auto;seed=7", seed=2)
    assert applied(prompt, "auto;seed=7").after == applied(prompt, "perturb;seed=7").after


def test_it_may_stand_for_a_pool(prompt_of: PromptOf) -> None:
    vetted = pool()
    prompt = informed(prompt_of(), vetted, scorecard("pool;name=vetted", pools=[vetted]))
    result = applied(prompt, "auto;seed=3")
    assert result.after == applied(prompt, "pool;name=vetted;seed=3").after
    receipt = result.receipt("tuned")
    assert None not in (receipt.pool, receipt.scorecard)
    assert applied(prompt_of(), format_applied(result.applied)).after.token_ids == result.after.token_ids


def test_a_state_that_it_needs_and_that_is_missing_can_be_supplied(prompt_of: PromptOf) -> None:
    prompt = informed(prompt_of(), scorecard("prefix-state"))
    with pytest.raises(StateMissing):
        applied(prompt, "auto")
    assert applied(stocked(prompt), "auto").after.patches


@pytest.mark.parametrize(
    "cards",
    [
        [scorecard("perturb", passed=False)],
        [scorecard("perturb", model=MODEL.model_copy(update={"weights": "9" * 64}))],
        [scorecard("pool;name=gone", pools=[pool(name="gone")])],
        [scorecard("best-of;n=2, perturb")],
        [scorecard("off")],
    ],
    ids=["failed", "of another model", "of a pool that is gone", "several answers", "no edit"],
)
def test_without_a_scorecard_to_choose_by_it_is_not_validated(prompt_of: PromptOf, cards: list[object]) -> None:
    with pytest.raises(NotValidated, match="`auto` has nothing to choose from"):
        applied(informed(prompt_of(), *cards), "auto")  # type: ignore[arg-type]


def test_without_evidence_it_is_unavailable(prompt_of: PromptOf) -> None:
    with pytest.raises(MitigationUnavailable, match="start it with --evidence DIR"):
        applied(prompt_of(), "auto")
