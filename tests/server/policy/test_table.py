import pytest

from unhitch.errors import BadParameter, HeaderError, UnknownPolicy, UnknownStrategy
from unhitch.registry import Registry
from unhitch_server.config import Config
from unhitch_server.policy.decision import Decision
from unhitch_server.policy.table import PolicyTable

STRICT = {"strict": "bare", "free": "off"}


def decide(*headers: tuple[str, str], mitigation: str = "off") -> Decision:
    config = Config(upstream="http://engine", mitigation=mitigation, policies=STRICT)
    lines = [(name.encode(), value.encode()) for name, value in headers]
    return PolicyTable(config, Registry()).decide(lines)


def names(decision: Decision) -> list[str]:
    return [step.strategy.name for step in decision.steps]


def test_without_a_header_the_default_holds() -> None:
    assert decide(("accept", "x")).off
    assert names(decide(mitigation="recase, perturb;seed=2")) == ["recase", "perturb"]


def test_a_header_goes_before_the_default() -> None:
    assert decide(("Unhitch-Mitigation", "off"), mitigation="bare").off
    assert names(decide(("unhitch-mitigation", "perturb"), mitigation="bare")) == ["perturb"]


def test_two_lines_of_a_header_are_one_list() -> None:
    assert names(decide(("Unhitch-Mitigation", "recase"), ("Unhitch-Mitigation", "perturb"))) == ["recase", "perturb"]


def test_a_policy_is_what_the_operator_named() -> None:
    assert names(decide(("Unhitch-Policy", "strict"))) == ["bare"]
    assert names(decide(("Unhitch-Policy", '"strict"'))) == ["bare"]
    assert decide(("Unhitch-Policy", "free"), mitigation="bare").off


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


def test_a_default_or_a_policy_that_does_not_validate_stops_the_proxy_at_start() -> None:
    with pytest.raises(UnknownStrategy):
        decide(mitigation="pertrub")
    with pytest.raises(BadParameter):
        PolicyTable(Config(upstream="http://e", policies={"x": "perturb;edits=0"}), Registry())
