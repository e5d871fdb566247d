from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.server.policy.tables import lines, table
from unhitch.errors import InvalidRequest, PolicyLocked
from unhitch.registry import Registry
from unhitch_server.policy.decision import Decision
from unhitch_server.policy.table import PolicyTable

OWN = "recase, perturb;edits=5"


def policy(freedoms: Sequence[str], mitigation: str = OWN, names: Sequence[str] = ()) -> PolicyTable:
    return table(f"""policies:
  strict:
    mitigation: '{mitigation}'
    clients_may: [{", ".join(freedoms)}]
    clients_may_name: [{", ".join(names)}]
  lax: {{mitigation: off}}
  other: {{mitigation: bare, clients_may: []}}
default: strict
""")


def ask(freedoms: Sequence[str], header: str, mitigation: str = OWN) -> Decision:
    return policy(freedoms, mitigation).decide(lines(("Unhitch-Mitigation", header)))


ASKED = [
    ("off", {"off"}),
    ("OFF", None),
    (OWN, set()),
    ("recase;version=1, perturb;version=1;edits=5;tokens=5", set()),
    ("perturb;edits=5, recase", {"choose"}),
    ("recase", {"choose"}),
    ("bare", {"choose"}),
    ("auto", {"choose"}),
    ("best-of;n=2, recase, perturb;edits=5", {"choose"}),
    (f"{OWN}, bare", {"choose"}),
    ("recase, perturb;edits=6", {"parameters", "choose"}),
    ("recase, perturb", {"parameters", "choose"}),
    ("recase;seed=3, perturb;edits=5", {"seed", "choose"}),
    ("recase, perturb;edits=5;seed=0", {"seed", "choose"}),
]


@pytest.mark.parametrize("freedom", ["choose", "parameters", "seed", "off", None])
@pytest.mark.parametrize(("header", "freedoms"), ASKED)
def test_a_client_gets_what_it_asks_for_just_where_the_policy_lets_it(
    header: str, freedoms: set[str] | None, freedom: str | None
) -> None:
    given_ = [] if freedom is None else [freedom]
    if freedoms is None:
        with pytest.raises(InvalidRequest):
            ask(given_, header)
    elif not freedoms or freedom in freedoms:
        assert ask(given_, header).policy == "strict"
    else:
        with pytest.raises(PolicyLocked):
            ask(given_, header)


def test_other_parameters_and_another_seed_need_both_freedoms() -> None:
    for freedoms in (["parameters"], ["seed"]):
        with pytest.raises(PolicyLocked):
            ask(freedoms, "recase, perturb;edits=6;seed=1")
    assert ask(["parameters", "seed"], "recase, perturb;edits=6;seed=1")


def test_a_seed_that_the_operator_gave_is_a_parameter() -> None:
    pinned = "perturb;edits=5;seed=7"
    assert ask([], pinned, pinned)
    for header in ("perturb;edits=5;seed=8", "perturb;edits=5"):
        with pytest.raises(PolicyLocked):
            ask(["seed"], header, pinned)
        assert ask(["parameters"], header, pinned)


def test_one_strategy_of_auto_is_another_strategy() -> None:
    with pytest.raises(PolicyLocked):
        ask(["parameters", "seed"], "bare", "auto")
    assert ask(["seed"], "auto;seed=3", "auto")


def test_a_policy_that_does_nothing_lets_nothing_be_asked_for_either() -> None:
    assert ask([], "off", "off").off
    with pytest.raises(PolicyLocked):
        ask(["seed"], "bare", "off")


def test_the_refusal_names_header_wish_and_what_may_be_done() -> None:
    with pytest.raises(PolicyLocked) as caught:
        policy(["seed"], names=["other"]).decide(lines(("Unhitch-Mitigation", "off")))
    error = caught.value
    assert (error.status, error.type, error.code) == (403, "invalid_request_error", "policy_locked")
    assert error.param == "Unhitch-Mitigation"
    assert error.message == (
        "Unhitch-Mitigation asked for 'off', and the operator's policy 'strict' does not let clients do so. Clients "
        "may give a seed that it leaves open, and a session in Unhitch-Session; name 'other' in Unhitch-Policy. Leave "
        "the header out, or ask the operator."
    )


def test_a_session_needs_the_freedom_of_the_seed() -> None:
    session = lines(("Unhitch-Session", '"a"'))
    assert policy(["seed"]).decide(session).session == "a"
    assert policy(["choose"]).decide(session).session == "a"
    for freedoms in ([], ["parameters"], ["off"]):
        with pytest.raises(PolicyLocked, match="Unhitch-Session asked for 'a'.*Clients may") as caught:
            policy(freedoms).decide(session)
        assert caught.value.param == "Unhitch-Session"


def test_a_policy_may_be_named_where_it_is_listed_and_its_own_locks_hold_then() -> None:
    found = policy(["seed", "choose", "off", "parameters"], names=["other"])
    assert found.decide(lines(("Unhitch-Policy", "other"))).policy == "other"
    assert found.decide(lines(("Unhitch-Policy", "strict"))).policy == "strict"
    with pytest.raises(PolicyLocked, match="Unhitch-Policy asked for 'lax'"):
        found.decide(lines(("Unhitch-Policy", "lax")))
    with pytest.raises(PolicyLocked, match="policy 'other'"):
        found.decide(lines(("Unhitch-Policy", "other"), ("Unhitch-Session", "x")))


NAMES = st.sampled_from(
    ["Unhitch-Mitigation", "unhitch-mitigation", "UNHITCH-MITIGATION", "Unhitch-Policy", "Unhitch-Session", "unhitch-x",
     "unhitch-mitigation ", "Unhitch_Mitigation", "X-Unhitch-Mitigation", "Unhitch-Applied", "content-type"]
)  # fmt: skip
STEPS = st.sampled_from(
    ["off", '"off"', "bare", "recase", "perturb", "perturb;edits=5", "perturb;edits=1", "perturb;edits=5;seed=3",
     "auto", "pool;name=x", "best-of;n=2", "system;mode=drop", "OFF", "strict", "lax", "other", '"x"', "",
     "prefix-state"]
)  # fmt: skip
VALUES = st.lists(STEPS, max_size=3).map(", ".join) | st.text(st.characters(max_codepoint=255), max_size=20)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4)
LOCKED = policy([])
SEEDED = policy(["seed"])
BOUND = Registry()


def outcome(found: PolicyTable, headers: list[tuple[str, str]]) -> Decision | None:
    try:
        return found.decide(lines(*headers), key="k", model="m", route="/v1/completions")
    except InvalidRequest:
        return None


@given(HEADERS)
def test_whatever_headers_come_a_locked_policy_is_made_as_it_is_or_the_request_is_refused(
    headers: list[tuple[str, str]],
) -> None:
    decision = outcome(LOCKED, headers)
    if decision is not None:
        assert edits(decision) == edits(LOCKED.default)
        assert (decision.policy, decision.session, decision.fail_open) == ("strict", None, False)


@given(HEADERS)
def test_whatever_headers_come_clients_that_may_choose_a_seed_change_nothing_else(
    headers: list[tuple[str, str]],
) -> None:
    decision = outcome(SEEDED, headers)
    if decision is not None:
        assert edits(decision, ignoring="seed") == edits(SEEDED.default, ignoring="seed")
        assert decision.policy == "strict"


def edits(decision: Decision, ignoring: str = "") -> list[tuple[str, dict[str, object]]]:
    return [(step.strategy.name, step.parameters.model_dump(exclude={ignoring})) for step in decision.steps]
