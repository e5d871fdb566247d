import json
from typing import Any

import pytest

from unhitch.errors import StateError
from unhitch.states.patch import Patch, from_params, to_params

ONE, OTHER = "1" * 64, "2" * 64


def params(**changes: Any) -> dict[str, Any]:
    return {"patches": [{"state": ONE, "start": 0, "tokens": 3} | changes]}


def test_what_is_asked_reads_back_as_it_was_meant_in_order_of_position() -> None:
    patches = [Patch(state=OTHER, start=9, tokens=2), Patch(state=ONE, start=0, tokens=9)]
    sent = json.loads(json.dumps(to_params(patches)))
    assert from_params(sent) == (patches[1], patches[0])


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (None, "patches"),
        ({}, "patches"),
        ({"patches": []}, "no patch"),
        ({"patches": {}}, "patches"),
        (params(state="x"), "patches.0.state"),
        (params(state=ONE[:-1]), "patches.0.state"),
        (params(start=-1), "patches.0.start"),
        (params(start=True), "patches.0.start"),
        (params(tokens=0), "patches.0.tokens"),
        (params(tokens="3"), "patches.0.tokens"),
        (params(more=1), "patches.0.more"),
        ({"patches": [{"state": ONE, "start": 0}]}, "patches.0.tokens"),
    ],
)
def test_a_malformed_member_is_refused_and_its_place_named(member: object, said: str) -> None:
    with pytest.raises(StateError, match=said.replace(".", r"\.")):
        from_params(member)


def test_two_patches_of_one_position_are_refused() -> None:
    with pytest.raises(StateError, match="same position"):
        from_params(to_params([Patch(state=ONE, start=0, tokens=4), Patch(state=OTHER, start=3, tokens=1)]))
