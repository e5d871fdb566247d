import json

import pytest

from unhitch.errors import MitigationUnconfirmed
from unhitch.states.patch import Patch
from unhitch_server.routes.confirmation import Confirmation, without_token_ids

IDS = (7, 8, 9)


def confirmation(*, strip: bool = True) -> Confirmation:
    return Confirmation(IDS, strip=strip)


def chunk(**fields: object) -> bytes:
    return json.dumps({"id": "x", **fields}, separators=(",", ":")).encode()


def choice(content: str, **fields: object) -> dict[str, object]:
    return {"index": 0, "delta": {"content": content}, "finish_reason": None, **fields}


def test_the_first_chunk_must_confirm_and_the_later_ones_need_not() -> None:
    reader = confirmation()
    with pytest.raises(MitigationUnconfirmed, match="says nothing"):
        reader.settle(chunk(choices=[choice("a")]))
    with pytest.raises(MitigationUnconfirmed, match="other token ids"):
        reader.settle(chunk(choices=[choice("a")], prompt_token_ids=[7, 8]))
    with pytest.raises(MitigationUnconfirmed):
        reader.settle(b"[DONE]")
    assert not reader.given
    reader.settle(chunk(choices=[choice("a")], prompt_token_ids=[7, 8, 9]))
    assert reader.given
    assert reader.settle(b"[DONE]") == b"[DONE]"


@pytest.mark.parametrize("begins", [{"token_ids": [1]}, {"finish_reason": "stop"}])
def test_a_stream_under_a_state_has_begun_once_something_was_generated(begins: dict[str, object]) -> None:
    patched = Confirmation(IDS, [Patch(state="e" * 64, start=0, tokens=1)])
    assert confirmation().begun
    patched.settle(chunk(choices=[choice("")], prompt_token_ids=[7, 8, 9]))
    assert (patched.given, patched.begun) == (True, False)
    patched.settle(chunk(choices=[choice("", token_ids=None)], usage=None))
    assert not patched.begun
    patched.settle(chunk(choices=[choice("a") | begins]))
    assert patched.begun


def test_an_error_of_the_engine_is_passed_on_in_its_own_words() -> None:
    error, reader = chunk(error={"message": "out of memory"}), confirmation()
    assert reader.settle(error) == error
    assert reader.settle(b"[DONE]") == b"[DONE]"
    assert not reader.given
    with pytest.raises(MitigationUnconfirmed):
        reader.settle(chunk(choices=[choice("a")]))


@pytest.mark.parametrize(
    "choices",
    [
        [choice("a", token_ids=[1, 2])],
        [choice("a", token_ids=[1], stop_reason=None)],
        [choice("a", token_ids=[1]), choice("b", token_ids=[2])],
        [choice('"token_ids":[1]}]', token_ids=[3])],
        [choice('"token_ids":[1]}]')],
        [choice("a", token_ids=None)],
        [choice("a", delta={"tool_calls": [{"token_ids": [1, 2]}]})],
        [choice("a", other=[{"token_ids": [1]}])],
        [choice("a", inner=[{"token_ids": [4]}], token_ids=[5])],
        [],
    ],
)
def test_only_the_token_ids_of_choices_are_taken_out(choices: list[dict[str, object]]) -> None:
    reader = confirmation()
    reader.settle(chunk(choices=[], prompt_token_ids=[7, 8, 9]))
    expected = [each | ({"token_ids": None} if "token_ids" in each else {}) for each in choices]
    assert json.loads(reader.settle(chunk(choices=choices)))["choices"] == expected
    assert json.loads(without_token_ids(chunk(choices=choices).decode()))["choices"] == expected


def test_a_client_that_asked_for_token_ids_gets_them() -> None:
    reader = confirmation(strip=False)
    first = chunk(choices=[choice("a", token_ids=[1])], prompt_token_ids=[7, 8, 9])
    assert reader.settle(first) == first
