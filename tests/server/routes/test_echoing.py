import json
from typing import Any

import pytest

from unhitch.errors import MitigationUnconfirmed
from unhitch.states.patch import FIELD, Patch, to_params
from unhitch_server.routes.echoing import Echoed

IDS = (7, 8, 9)
PATCH = Patch(state="e" * 64, start=0, tokens=1)
DELTA = b'{"type":"response.output_text.delta","delta":"\\"error\\" response.completed"}'


def response(ids: object = IDS, **fields: object) -> dict[str, Any]:
    echo = {"input_messages": [{"message": "", "tokens": ids}], "output_messages": [{"message": "x", "tokens": [1]}]}
    return {"id": "r", "object": "response", "error": None, **echo, **fields}


def event(kind: str, body: object = None) -> bytes:
    return json.dumps({"response": body or {"id": "r", "input_messages": None}, "type": kind}).encode()


def opened(*patches: Patch, strip: bool = True) -> Echoed:
    reader = Echoed(IDS, patches, strip=strip)
    reader.settle(event("response.created"))
    return reader


def test_a_whole_answer_must_echo_the_ids_and_loses_the_echo() -> None:
    answer = json.dumps(response()).encode()
    settled = json.loads(Echoed(IDS).settle_whole(answer))
    assert settled == response() | {"input_messages": None, "output_messages": None}
    assert Echoed(IDS, strip=False).settle_whole(answer) == answer


@pytest.mark.parametrize("other", [[7, 8], None, "7"])
def test_a_whole_answer_without_the_ids_is_withheld(other: object) -> None:
    with pytest.raises(MitigationUnconfirmed):
        Echoed(IDS).settle_whole(json.dumps(response(other)).encode())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_an_answer_in_another_encoding_is_withheld(encoding: str) -> None:
    with pytest.raises(MitigationUnconfirmed):
        Echoed(IDS).settle_whole(json.dumps(response()).encode(encoding))


def test_an_error_beside_generated_text_is_no_way_past_the_confirmation() -> None:
    with pytest.raises(MitigationUnconfirmed):
        Echoed(IDS).settle_whole(json.dumps(response([7], error={"message": "m"}, output=[{"x": 1}])).encode())


def test_an_event_without_a_type_that_is_text_is_withheld() -> None:
    with pytest.raises(MitigationUnconfirmed):
        Echoed(IDS).settle(b'{"type": ["response.created"]}')


def test_a_stream_is_passed_on_from_its_first_event_and_confirmed_by_its_last() -> None:
    reader = opened()
    assert (reader.given, reader.begun, reader.request_id) == (True, True, "r")
    assert reader.settle(DELTA) == DELTA
    with pytest.raises(MitigationUnconfirmed, match="ended without"):
        reader.ended()
    last = json.loads(reader.settle(event("response.completed", response())))
    assert last["response"]["input_messages"] is last["response"]["output_messages"] is None
    reader.ended()


@pytest.mark.parametrize("kind", ["response.completed", "response.incomplete"])
def test_a_stream_that_read_other_ids_does_not_end_as_a_good_one(kind: str) -> None:
    with pytest.raises(MitigationUnconfirmed, match="other token ids"):
        opened().settle(event(kind, response([1, 2, 3])))


def test_nothing_generated_comes_before_the_opening() -> None:
    with pytest.raises(MitigationUnconfirmed):
        Echoed(IDS).settle(DELTA)


def test_a_stream_under_a_state_has_begun_once_something_was_generated() -> None:
    reader = opened(PATCH)
    reader.settle(event("response.in_progress"))
    assert (reader.given, reader.begun) == (True, False)
    reader.settle(b'{"type":"response.output_item.added"}')
    assert reader.begun


def test_the_end_of_a_stream_says_which_states_were_served() -> None:
    served = response(kv_transfer_params={FIELD: to_params([PATCH])})
    last = json.loads(opened(PATCH).settle(event("response.completed", served)))
    assert last["response"]["kv_transfer_params"] is None
    with pytest.raises(MitigationUnconfirmed):
        opened(PATCH).settle(event("response.completed", response(kv_transfer_params=None)))


@pytest.mark.parametrize("failure", [b'{"type":"error","message":"no"}', b'{"error":{"message":"no"}}'])
def test_a_stream_that_fails_ends_in_the_engines_own_words(failure: bytes) -> None:
    reader = opened()
    assert reader.settle(failure) == failure
    assert reader.failed
    reader.ended()
