"""What a conversation can be known by."""

from typing import Any

import pytest

from unhitch_server.policy.opening import opening

SYSTEM = {"role": "system", "content": "Be brief."}
FIRST = {"role": "user", "content": "Hello"}
LATER = [{"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And?"}]


@pytest.mark.parametrize("member", ["messages", "input"])
def test_every_turn_of_a_conversation_begins_alike(member: str) -> None:
    assert opening({member: [SYSTEM, FIRST]}) == opening({member: [SYSTEM, FIRST, *LATER], "temperature": 0})


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"messages": [SYSTEM, FIRST]}, {"messages": [FIRST]}),
        ({"messages": [FIRST], "system": "Be brief."}, {"messages": [FIRST]}),
        ({"input": "Hello", "instructions": "Be brief."}, {"input": "Hello"}),
        ({"input": "Hello"}, {"input": "Hullo"}),
        ({"prompt": "Hello"}, {"prompt": "Hullo"}),
        ({"messages": [{"role": "assistant", "content": "Hi."}]}, {"messages": []}),
    ],
)
def test_other_openings_are_other_conversations(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert opening(one) != opening(other)


@pytest.mark.parametrize("fields", [None, {}, {"model": "m"}, {"messages": []}, {"messages": None}])
def test_where_nothing_is_said_there_is_none(fields: dict[str, Any] | None) -> None:
    assert opening(fields) is None


@pytest.mark.parametrize("fields", [{"messages": 7}, {"messages": [1, None]}, {"input": [{"role": []}], "prompt": {}}])
def test_a_malformed_body_is_left_to_the_route(fields: dict[str, Any]) -> None:
    assert opening(fields)
