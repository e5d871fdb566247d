import pytest

from unhitch.errors import NotPermitted
from unhitch_server.access.caller import ANYONE, Caller, covers


@pytest.mark.parametrize(
    ("pattern", "name", "covered"),
    [
        ("*", "anything", True),
        ("mini-*", "mini-base", True),
        ("mini-*", "mini-", True),
        ("mini-*", "Mini-base", False),
        ("mini-base", "mini-base", True),
        ("mini-base", "mini-base-2", False),
        ("a[bc]*", "ab", False),
        ("a[bc]*", "a[bc]d", True),
        ("a?", "ab", False),
    ],
)
def test_a_pattern_is_a_name_or_a_beginning(pattern: str, name: str, covered: bool) -> None:
    assert covers([pattern], name) is covered


def test_a_model_or_policy_that_the_key_is_not_for_is_forbidden() -> None:
    caller = Caller("team-a", models=("mini-*", "x"), policies=())
    caller.require_model("mini-base")
    with pytest.raises(NotPermitted, match=r"'big' was asked for; the key 'team-a' is for mini-\*, x") as caught:
        caller.require_model("big")
    assert (caught.value.status, caught.value.param) == (403, "model")
    with pytest.raises(NotPermitted, match="'strict'; the key 'team-a' is for none") as caught:
        caller.require_policy("strict")
    assert (caught.value.status, caught.value.param) == (403, "Unhitch-Policy")


def test_a_limited_key_has_to_name_its_model_since_the_engine_would_choose_one() -> None:
    with pytest.raises(NotPermitted, match="names no model"):
        Caller("team-a", models=("mini-*",)).require_model(None)


def test_whoever_calls_without_keys_may_use_everything() -> None:
    ANYONE.require_model(None)
    ANYONE.require_model("x")
    ANYONE.require_policy("x")
    assert ANYONE.any_model
