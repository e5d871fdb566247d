"""What a scorecard was measured on and how."""

import pytest

from tests.unhitch.evals.report.scorecards import compared, full, scorecard
from unhitch.evals.report import provenance
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity, StrategyIdentity


@pytest.mark.parametrize(
    ("passed", "words"), [(True, "Passed: may be switched on"), (False, "Failed: must not be switched on")]
)
def test_the_verdict_says_what_follows_from_it(passed: bool, words: str) -> None:
    assert provenance.verdict(scorecard(passed=passed)) == words


def test_what_could_not_be_judged_is_named() -> None:
    assert provenance.gaps(full()) == "No data for trigger."


def test_what_was_not_measured_is_said() -> None:
    assert provenance.gaps(scorecard(cells=())) == "The guard matrix was not measured. Utility was not checked."


def test_nothing_is_said_where_nothing_is_missing() -> None:
    assert provenance.gaps(scorecard(checks=(compared("retention", 0.9, 0.9),))) == ""


def test_sampling_names_the_draws_and_all_settings() -> None:
    assert provenance.sampling(scorecard(sampling={"temperature": 0.7, "draws": 1, "seed": 3})) == (
        "1 draw of each question; temperature 0.7, seed 3"
    )


def test_facts_shorten_digests() -> None:
    facts = dict(provenance.facts(scorecard()))
    assert facts["model"] == f"finance-32b ({'a1' * 6})"
    assert facts["questions"] == f"96 of suite everyday ({'e5' * 6})"
    assert facts["judge's model"] == "judge-70b"


def test_the_scorer_is_named_where_one_chose() -> None:
    scorer = JudgeIdentity(name="rated", version=1, details={"model": "judge-8b"})
    card = scorecard(strategy=StrategyIdentity(mitigation="best-of;version=1;n=4, perturb;version=1", scorer=scorer))
    facts = dict(provenance.facts(card))
    assert facts["scorer"] == f"rated, version 1 ({scorer.digest[:12]})"
    assert facts["scorer's model"] == "judge-8b"
    assert dict(provenance.digests(card))["scorer"] == scorer.digest
    assert "scorer" not in dict(provenance.facts(scorecard()))


def test_digests_are_given_in_full_for_the_base_too() -> None:
    base = ModelIdentity(weights="b2" * 32, tokenizer="c3" * 32, template="f6" * 32)
    card = scorecard(base=base)
    digests = dict(provenance.digests(card))
    assert digests["this scorecard"] == card.digest
    assert digests["model: what the adapter sits on"] == digests["base: weights"] == "b2" * 32
    assert digests["base: chat template"] == "f6" * 32
