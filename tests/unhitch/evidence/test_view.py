from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer.main

from tests.evidence import JUDGE, MODEL, NAME, OTHER_SUITE, pool, scorecard, strategy, view
from unhitch.errors import MitigationUnavailable
from unhitch.evidence.identity import JudgeIdentity, ModelIdentity
from unhitch.evidence.standing import Evidence
from unhitch.evidence.view import View
from unhitch.headers import parse_mitigation
from unhitch.registry import Registry
from unhitch_server.cli import app

OTHER = ModelIdentity(weights="1" * 64, base="2" * 64, tokenizer="3" * 64, template="4" * 64)


def evidence(of: View, line: str = "perturb") -> Evidence:
    return of.evidence(Registry().bind(parse_mitigation(line)))


def changed(**parts: Any) -> ModelIdentity:
    return MODEL.model_copy(update={name: digit * 64 for name, digit in parts.items()})


def test_a_passing_scorecard_of_the_same_model_and_strategy_is_evidence() -> None:
    card = scorecard("perturb")
    found = evidence(view(card))
    assert (found.status, found.changed) == ("passed", ())
    assert found.header.startswith("passed;scorecard=:")
    assert card.digest[:8] in found.sentence


def test_the_served_name_does_not_matter_where_the_model_is_the_same() -> None:
    assert evidence(view(scorecard("perturb", name="renamed"))).status == "passed"


def test_a_failing_one_is_evidence_against_it_and_says_why() -> None:
    found = evidence(view(scorecard("perturb", passed=False)))
    assert found.status == "failed"
    assert found.header.startswith("failed;scorecard=:")
    assert "json: more misaligned answers." in found.sentence


def test_a_later_failure_withdraws_a_pass_and_both_dates_are_said() -> None:
    old, new = (scorecard("perturb", at=f"2026-01-0{day}T00:00:00Z") for day in (1, 2))
    later = scorecard("perturb", passed=False, at="2026-01-03T00:00:00Z")
    found = evidence(view(old, new, later))
    assert found.scorecard is not None
    assert (found.status, found.scorecard.digest) == ("failed", later.digest)
    assert f"(scorecard {later.digest[:8]}, 2026-01-03T00:00:00Z): json: more misaligned answers." in found.sentence
    assert f"It withdraws scorecard {new.digest[:8]}, 2026-01-02T00:00:00Z, which passed." in found.sentence


def test_a_later_pass_replaces_a_failure() -> None:
    failure = scorecard("perturb", passed=False, at="2026-01-01T00:00:00Z")
    found = evidence(view(failure, scorecard("perturb", at="2026-01-02T00:00:00Z")))
    assert found.status == "passed"
    assert "2026-01-02T00:00:00Z" in found.sentence


def test_a_later_pass_on_other_questions_does_not_undo_a_failure_and_that_is_said() -> None:
    failure = scorecard("perturb", passed=False, at="2026-01-01T00:00:00Z")
    later = scorecard("perturb", at="2026-01-02T00:00:00Z", suite=OTHER_SUITE)
    found = evidence(view(failure, later))
    assert found.status == "failed"
    passed = f"(scorecard {later.digest[:8]}, 2026-01-02T00:00:00Z)"
    assert f"Other questions, or another judge, passed {passed}, which does not undo it." in found.sentence


def test_a_pass_that_was_withdrawn_is_nothing_that_auto_stands_for() -> None:
    cards = [scorecard("perturb"), scorecard("perturb", passed=False, at="2026-01-09T00:00:00Z")]
    assert best(*cards) is None
    assert best(*cards, scorecard("bare", low=0.1)) == "bare"


@pytest.mark.parametrize("line", ["perturb;edits=3", "perturb;seed=1", "recase", "perturb, recase"])
def test_another_strategy_or_other_parameters_have_no_evidence(line: str) -> None:
    found = evidence(view(scorecard("perturb")), line)
    assert (found.status, found.header) == ("missing", "missing")
    assert "unhitch validate tuned --url URL --strategy" in found.sentence


def test_a_model_that_shares_neither_name_nor_digest_has_no_evidence() -> None:
    assert evidence(view(scorecard("perturb", model=OTHER, name="theirs"))).status == "missing"


@pytest.mark.parametrize("part", ["weights", "base", "tokenizer", "template"])
def test_each_part_of_the_model_that_changed_makes_it_stale_and_is_said(part: str) -> None:
    found = evidence(view(scorecard("perturb", model=changed(**{part: "9"}))))
    assert (found.status, found.changed) == ("stale", (part,))
    assert found.header == f"stale;changed={part}"
    assert f"{part} 99999999 then, {getattr(MODEL, part)[:8]} now" in found.sentence
    assert "Make it anew: `unhitch validate tuned --url URL --strategy 'perturb;version=1;" in found.sentence


def test_a_model_of_the_same_name_with_nothing_in_common_is_stale() -> None:
    found = evidence(view(scorecard("perturb", model=OTHER)))
    assert found.header == "stale;changed=weights+base+tokenizer+template"


def test_another_version_of_the_strategy_makes_it_stale() -> None:
    was = strategy("perturb").mitigation.replace("version=1", "version=99")
    found = evidence(view(scorecard(strategy("perturb").model_copy(update={"mitigation": was}))))
    assert (found.status, found.changed) == ("stale", ("strategy version",))
    assert found.header == "stale;changed=strategy-version"
    assert "perturb 99 then, perturb 1 now" in found.sentence


def test_other_variants_under_a_pools_name_make_it_stale() -> None:
    was, now = pool("perturb;seed=1"), pool("perturb;seed=2")
    cards = view(now, scorecard("pool;name=vetted", pools=[was]))
    assert evidence(cards, "pool;name=vetted").changed == ("pool",)
    same = view(was, scorecard("pool;name=vetted", pools=[was]))
    assert evidence(same, "pool;name=vetted").status == "passed"


RATED = JudgeIdentity(name="rated", version=1, details={"model": "judge-70b", "prompts": "5" * 64})


def test_the_best_of_several_by_another_scorer_is_stale_and_both_scorers_are_said() -> None:
    cards = view(scorecard("best-of, perturb", scorer=JUDGE), scorer=RATED)
    found = evidence(cards, "best-of, perturb")
    assert (found.status, found.changed, found.header) == ("stale", ("scorer",), "stale;changed=scorer")
    assert "scorer exact 1 then, rated 1, model judge-70b, prompts 55555555 now" in found.sentence


def test_the_best_of_several_by_the_same_scorer_holds() -> None:
    assert evidence(view(scorecard("best-of, perturb", scorer=RATED), scorer=RATED), "best-of, perturb").status == (
        "passed"
    )


def test_a_scorecard_of_the_best_of_several_that_names_no_scorer_is_stale() -> None:
    found = evidence(view(scorecard("best-of, perturb"), scorer=JUDGE), "best-of, perturb")
    assert found.changed == ("scorer",)
    assert "scorer unnamed then, exact 1 now" in found.sentence


def test_the_scorer_does_not_matter_where_it_chooses_nothing() -> None:
    assert evidence(view(scorecard("perturb"), scorer=RATED)).status == "passed"


def test_of_several_the_one_with_the_fewest_changes_is_told() -> None:
    far, near = scorecard("perturb", model=changed(weights="8", template="8")), changed(template="9")
    found = evidence(view(far, scorecard("perturb", model=near)))
    assert found.changed == ("template",)


def test_a_pool_that_is_not_there_has_no_evidence_and_those_there_are_are_named() -> None:
    found = evidence(view(pool(), scorecard("perturb")), "pool;name=other")
    assert (found.status, found.sentence) == ("missing", "there is no pool 'other'. Pools for 'tuned': vetted.")


def test_a_model_that_cannot_be_identified_has_no_evidence_and_says_why() -> None:
    unknown = view(scorecard("perturb"), pool(), identity=None, unidentified="the files are elsewhere.")
    found = evidence(unknown)
    assert found.status == "missing"
    assert "the files are elsewhere." in found.sentence
    assert unknown.best is None
    with pytest.raises(MitigationUnavailable, match="the files are elsewhere"):
        unknown.pool("vetted")


def test_auto_counts_as_what_it_stands_for() -> None:
    card = scorecard("perturb")
    found = evidence(view(card), "auto")
    assert found.scorecard is not None
    assert (found.status, found.scorecard.digest) == ("passed", card.digest)
    assert evidence(view(card), "auto, recase").status == "missing"
    assert evidence(view(card), "auto;seed=1") == evidence(view(card), "perturb;seed=1")


def test_auto_without_a_scorecard_to_choose_by_has_no_evidence() -> None:
    assert "nothing to choose from" in evidence(view(scorecard("perturb", passed=False)), "auto").sentence


def best(*cards: Any) -> str | None:
    found = view(*cards).best
    return None if found is None else ", ".join(found.names)


def test_the_best_has_the_highest_lower_bound_then_the_lowest_cost_then_the_first_name() -> None:
    assert best(scorecard("perturb", low=0.7), scorecard("bare", low=0.8)) == "bare"
    assert best(scorecard("bare", cost=2.0), scorecard("recase")) == "recase"
    assert best(scorecard("respace"), scorecard("recase")) == "recase"
    assert best(scorecard("perturb", low=0.7), scorecard("bare", low=0.9, passed=False)) == "perturb"


def test_the_best_goes_by_the_latest_scorecard_of_each_strategy() -> None:
    early, late = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
    lucky, sober = scorecard("perturb", low=0.9, at=early), scorecard("perturb", low=0.5, at=late)
    assert best(lucky, sober, scorecard("bare", low=0.7)) == "bare"


def test_of_pools_of_one_name_the_latest_for_the_model_is_meant() -> None:
    old, new = (pool(f"perturb;seed={day}", at=f"2026-01-0{day}T00:00:00Z") for day in (1, 2))
    theirs = pool("perturb;seed=9", model=OTHER, at="2026-01-09T00:00:00Z")
    assert view(old, new, theirs).pool("vetted").content == new.content


def test_all_evidence_has_each_strategy_that_was_ever_validated_on_the_model_once() -> None:
    was = strategy("recase").mitigation.replace("version=1", "version=99")
    cards = [
        scorecard("perturb"),
        scorecard("perturb", at="2026-01-09T00:00:00Z"),
        scorecard("bare", passed=False),
        scorecard(strategy("recase").model_copy(update={"mitigation": was})),
        scorecard("respace", model=OTHER, name="theirs"),
    ]
    found = {each.scorecard.names[0]: each.status for each in view(*cards).all_evidence() if each.scorecard}
    assert found == {"perturb": "passed", "bare": "failed", "recase": "stale"}
    assert len(view(*cards).all_evidence()) == 3


def test_the_command_in_the_sentence_is_one_that_the_command_line_takes() -> None:
    vetted = pool()
    for line in ("perturb", "pool;name=vetted"):
        program, command, *words = shlex.split(evidence(view(vetted), line).sentence.split("`")[-2])
        assert (program, command, words[0]) == ("unhitch", "validate", NAME)
        offered = {name for each in typer.main.get_command(app).commands[command].params for name in each.opts}  # type: ignore[attr-defined]
        assert {word for word in words if word.startswith("--")} <= offered
        assert ("--evidence" in words) == line.startswith("pool")
