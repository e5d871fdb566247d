from __future__ import annotations

import pytest

from tests.server.policy.tables import lines, table
from unhitch.errors import HeaderError, InvalidBody, PolicyLocked, UnknownPolicy
from unhitch.registry import Registry
from unhitch_server.policy.decision import Decision
from unhitch_server.policy.document import Document
from unhitch_server.policy.errors import InvalidPolicy
from unhitch_server.policy.shares import in_share
from unhitch_server.policy.table import PolicyTable


def of_options(mitigation: str = "off", **policies: str) -> PolicyTable:
    document = Document.of_settings(
        upstream="http://engine", mitigation=mitigation, policies=policies, require_validated="no"
    )
    return PolicyTable(document, Registry())


def decide(*headers: tuple[str, str], mitigation: str = "off") -> Decision:
    return of_options(mitigation, strict="bare", free="off").decide(lines(*headers))


def names(decision: Decision) -> list[str]:
    return [step.strategy.name for step in decision.steps]


def test_without_a_header_the_default_holds() -> None:
    assert decide(("accept", "x")).off
    assert names(decide(mitigation="recase, perturb;seed=2")) == ["recase", "perturb"]


def test_a_header_goes_before_the_default_that_options_make() -> None:
    assert decide(("Unhitch-Mitigation", "off"), mitigation="bare").off
    assert names(decide(("unhitch-mitigation", "perturb"), mitigation="bare")) == ["perturb"]


def test_two_lines_of_a_header_are_one_list() -> None:
    assert names(decide(("Unhitch-Mitigation", "recase"), ("UNHITCH-MITIGATION", "perturb"))) == ["recase", "perturb"]


def test_a_policy_is_what_the_operator_named() -> None:
    assert names(decide(("Unhitch-Policy", "strict"))) == ["bare"]
    assert names(decide(("Unhitch-Policy", '"strict"'))) == ["bare"]
    assert decide(("Unhitch-Policy", "free"), mitigation="bare").off
    assert decide(("Unhitch-Policy", "strict")).policy == "strict"


def test_an_unknown_policy_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownPolicy, match="free, strict"):
        decide(("Unhitch-Policy", "lax"))


def test_a_session_is_kept_beside_either() -> None:
    assert decide(("Unhitch-Session", '"a b"')).session == "a b"
    assert decide(("Unhitch-Session", '"a"'), ("Unhitch-Policy", "strict")).session == "a"
    assert decide().session is None


def test_a_mitigation_and_a_policy_together_are_refused() -> None:
    with pytest.raises(HeaderError, match="send one"):
        decide(("Unhitch-Mitigation", "off"), ("Unhitch-Policy", "strict"))


def test_a_misspelt_header_of_ours_is_refused_rather_than_overlooked() -> None:
    with pytest.raises(HeaderError, match="unhitch-mitigate"):
        decide(("Unhitch-Mitigate", "bare"))


def test_two_policies_or_two_sessions_are_refused() -> None:
    with pytest.raises(HeaderError):
        decide(("Unhitch-Policy", "strict"), ("unhitch-policy", "free"))
    with pytest.raises(HeaderError):
        decide(("Unhitch-Session", '"a"'), ("unhitch-session", '"b"'))


def test_a_header_of_ours_has_a_bound() -> None:
    with pytest.raises(HeaderError, match="at most"):
        decide(("Unhitch-Session", f'"{"a" * 20_000}"'))


def test_a_default_or_a_policy_that_does_not_validate_stops_the_proxy_at_start() -> None:
    with pytest.raises(InvalidPolicy, match="pertrub"):
        of_options("pertrub")
    with pytest.raises(InvalidPolicy, match="edits"):
        of_options(x="perturb;edits=0")


POLICIES = """
policies:
  strict: {mitigation: bare}
  other: {mitigation: recase}
  plain: {mitigation: off}
"""


def governed(rest: str, **by: str | None) -> str:
    return table(f"{POLICIES}{rest}").decide([], **by).policy  # type: ignore[arg-type]


def test_the_first_rule_that_matches_decides() -> None:
    rules = """default: strict
rules:
  - {keys: [team-a, team-b*], routes: [/v1/completions], policy: other}
  - {routes: [/v1/*], models: [mini-*], policy: plain}
"""
    assert governed(rules, key="team-a", model="x", route="/v1/completions") == "other"
    assert governed(rules, key="team-bees", model="mini-x", route="/v1/completions") == "other"
    assert governed(rules, key="team-abc", model="x", route="/v1/completions") == "strict"
    assert governed(rules, key="team-a", model="mini-x", route="/v1/completions/") == "plain"
    assert governed(rules, key=None, model="mini-x", route="/v1/completions") == "plain"
    assert governed(rules, key="team-a", model="maxi", route="/v1/chat/completions") == "strict"
    assert governed(rules, key="team-a", model="mini-x", route="/v2") == "strict"


def test_a_rule_for_all_keys_matches_no_request_without_one() -> None:
    rules = "default: strict\nrules: [{keys: ['*'], policy: other}]"
    assert governed(rules, key="x") == "other"
    assert governed(rules) == "strict"


ALIASES = """
models:
  safe: {model: mini-finance, policy: strict}
  lax: {model: mini-finance, policy: plain}
  name-only: {model: mini-finance}
"""


def test_an_alias_has_its_policy_and_the_engines_model() -> None:
    decision = table(f"{POLICIES}{ALIASES}default: other").decide([], model="safe")
    assert (decision.policy, decision.model, decision.upstream) == ("strict", "mini-finance", "main")


def test_an_alias_without_a_policy_has_the_default() -> None:
    assert governed(f"{ALIASES}default: other", model="name-only") == "other"


def test_a_model_that_is_no_alias_is_passed_as_it_is_however_it_is_spelt() -> None:
    decision = table(f"{POLICIES}{ALIASES}default: other").decide([], model="safe-7b")
    assert (decision.policy, decision.model) == ("other", None)
    assert table(f"{POLICIES}{ALIASES}default: other").decide([], model="SAFE").model is None


@pytest.mark.parametrize("model", ["mini-finance", "safe", "lax", "name-only"])
@pytest.mark.parametrize("pattern", ["mini-finance", "mini-*", "*"])
def test_no_alias_leads_past_a_rule_for_the_model_behind_it(model: str, pattern: str) -> None:
    rules = f"{ALIASES}default: plain\nrules: [{{models: ['{pattern}'], policy: other}}]"
    assert governed(rules, model=model) == "other"


@pytest.mark.parametrize("by", ["keys: [a]", "routes: [/v1/*]"])
def test_no_alias_leads_past_a_rule_for_key_or_route(by: str) -> None:
    rules = f"{ALIASES}default: plain\nrules: [{{{by}, policy: other}}]"
    for model in ("safe", "lax"):
        assert governed(rules, key="a", model=model, route="/v1/completions") == "other"


def test_an_alias_adds_its_policy_where_the_rule_does_nothing() -> None:
    rules = f"{ALIASES}default: other\nrules: [{{models: [mini-*], policy: plain}}]"
    assert governed(rules, model="mini-finance") == "plain"
    assert governed(rules, model="safe") == "strict"
    assert governed(rules, model="lax") == "plain"


def test_a_rule_can_name_an_alias() -> None:
    rules = f"{ALIASES}default: plain\nrules: [{{models: [name-only], policy: other}}]"
    assert governed(rules, model="name-only") == "other"
    assert governed(rules, model="mini-finance") == "plain"


def test_a_request_without_a_model_is_refused_where_a_rule_goes_by_it() -> None:
    rules = table(f"{POLICIES}default: plain\nrules: [{{routes: [/v1/*], models: [mini-*], policy: strict}}]")
    with pytest.raises(InvalidBody, match="names no model") as caught:
        rules.decide([], route="/v1/completions")
    assert caught.value.param == "model"
    assert rules.decide([], route="/v1/models", generates=False).policy == "plain"
    assert rules.decide([], route="/other").policy == "plain"


def test_whether_the_body_matters_is_known_beforehand() -> None:
    assert not table(f"{POLICIES}default: plain\nrules: [{{keys: [a], policy: strict}}]").needs_body
    assert table(f"{POLICIES}default: plain\nrules: [{{models: [a], policy: strict}}]").needs_body
    assert table(f"{POLICIES}{ALIASES}default: plain").needs_body
    assert table(ROLLOUT).needs_body


def test_an_alias_can_lead_to_another_upstream() -> None:
    text = """upstreams: {one: {urls: [http://a]}, two: {urls: [http://b]}}
default_upstream: one
models: {far: {model: m, upstream: two}, near: {model: m}}
default: strict
"""
    found = table(f"{POLICIES}{text}")
    assert [found.decide([], model=model).upstream for model in ("far", "near", "m", None)] == [
        "two", "one", "one", "one",
    ]  # fmt: skip


def test_the_decision_holds_what_the_policy_says() -> None:
    decision = table("""policies:
  a: {mitigation: bare, on_failure: open, require_validated: mark, unrecognised_prompts: pass}
default: a""").decide([])
    assert (decision.fail_open, decision.require, decision.unrecognised) == (True, "mark", "pass")


def test_what_a_client_asks_for_itself_never_fails_open() -> None:
    found = table("policies: {a: {mitigation: perturb, on_failure: open}}\ndefault: a")
    assert found.decide(lines(("Unhitch-Session", "x"))).fail_open
    assert not found.decide(lines(("Unhitch-Mitigation", "perturb;tokens=9999"))).fail_open


ROLLOUT = """policies:
  trial: {mitigation: bare, rollout: {percent: 10, otherwise: plain}}
  plain: {mitigation: off, clients_may_name: [trial]}
default: trial
"""


def test_a_rollout_has_its_share_of_ten_thousand_sessions_and_keeps_every_one_of_them() -> None:
    found = table(ROLLOUT)
    sessions = [lines(("Unhitch-Session", f'"conversation {number}"')) for number in range(10_000)]
    arms = [found.decide(session).policy for session in sessions]
    assert 880 < arms.count("trial") < 1120
    again = table(ROLLOUT)
    assert [again.decide(session).policy for session in sessions[:500]] == arms[:500]


def test_the_session_decides_before_the_key_and_the_key_before_the_conversation() -> None:
    found = table(ROLLOUT)
    inside = next(each for each in map(str, range(99)) if in_share(10, "trial", f"session {each}"))
    key = next(each for each in map(str, range(99)) if in_share(10, "trial", each))
    outside = next(each for each in map(str, range(99)) if not in_share(10, "trial", each))
    session = lines(("Unhitch-Session", f'"{inside}"'))
    assert found.decide(session, key=outside, opening=outside).policy == "trial"
    assert found.decide([], key=key, opening=outside).policy == "trial"
    assert found.decide([], key=outside, opening=key).policy == "plain"
    assert found.decide([], opening=key).policy == "trial"


def test_without_anything_to_go_by_chance_decides() -> None:
    assert table(ROLLOUT, chance=lambda: 0.0999).decide([]).policy == "trial"
    assert table(ROLLOUT, chance=lambda: 0.1).decide([]).policy == "plain"


def test_a_session_that_may_not_be_named_chooses_no_share() -> None:
    locked = table(ROLLOUT.replace("bare,", "bare, clients_may: [],"), chance=lambda: 0.0)
    for number in range(50):
        with pytest.raises(PolicyLocked):
            locked.decide(lines(("Unhitch-Session", str(f'"{number}"'))))


def test_naming_a_policy_that_is_rolled_out_changes_no_share() -> None:
    found = table(ROLLOUT)
    for number in range(50):
        session = ("Unhitch-Session", f'"{number}"')
        named = found.decide(lines(session, ("Unhitch-Policy", "trial")))
        assert named.policy == found.decide(lines(session)).policy


def test_a_share_of_the_requests_has_a_shadow() -> None:
    text = "policies: {a: {mitigation: bare, shadow: {percent: 1, mitigation: off}}}\ndefault: a"
    drawn = iter([0.0099, 0.01, 0.5])
    found = table(text, chance=lambda: next(drawn))
    shadows = [found.decide([]).shadow for _ in range(3)]
    assert shadows[0] is not None
    assert [step.strategy.name for step in shadows[0]] == ["off"]
    assert shadows[1:] == [None, None]


def test_whether_states_are_needed_or_anything_is_mitigated_is_seen_over_all_policies() -> None:
    assert not table(f"{POLICIES}default: plain").need_states
    assert table(f"{POLICIES}  stated: {{mitigation: prefix-state}}\ndefault: plain").need_states
    assert table(f"{POLICIES}default: plain").mitigates
    assert not table("policies: {a: {mitigation: off}}\ndefault: a").mitigates
