import json

import pytest

from unhitch.errors import MitigationUnconfirmed
from unhitch.states.patch import FIELD, Patch, to_params
from unhitch_server.routes.counting import Counted

IDS = (7, 8, 9)
PATCH = Patch(state="e" * 64, start=0, tokens=1)


def start(**usage: object) -> bytes:
    return json.dumps({"type": "message_start", "message": {"id": "m", "usage": usage}}).encode()


def whole(**fields: object) -> bytes:
    return json.dumps({"id": "m", "type": "message", "usage": {"input_tokens": 3}, **fields}).encode()


def test_a_stream_is_confirmed_by_its_first_event() -> None:
    reader = Counted(IDS)
    first = start(input_tokens=3, output_tokens=0)
    assert reader.settle(first) == first
    assert (reader.given, reader.begun, reader.request_id) == (True, True, "m")


def test_tokens_read_from_the_cache_count() -> None:
    reader = Counted(IDS)
    reader.settle(start(input_tokens=1, cache_read_input_tokens=2, cache_creation_input_tokens=None))
    assert reader.given


@pytest.mark.parametrize("usage", [{}, {"input_tokens": 4}, {"input_tokens": "3"}, {"input_tokens": 3.0}])
def test_another_number_is_no_confirmation(usage: dict[str, object]) -> None:
    with pytest.raises(MitigationUnconfirmed, match="did not confirm"):
        Counted(IDS).settle(start(**usage))


def test_an_error_beside_generated_text_is_no_way_past_the_confirmation() -> None:
    with pytest.raises(MitigationUnconfirmed):
        Counted(IDS).settle_whole(whole(usage={}, content=[{"type": "text", "text": "x"}], error={"message": "m"}))


def test_nothing_comes_before_the_number() -> None:
    reader = Counted(IDS)
    assert reader.settle(b'{"type":"ping"}') == b'{"type":"ping"}'
    assert not reader.given
    with pytest.raises(MitigationUnconfirmed):
        reader.settle(b'{"type":"content_block_delta","delta":{"text":"a"}}')


def test_a_stream_under_a_state_has_begun_once_something_was_generated() -> None:
    reader = Counted(IDS, [PATCH])
    reader.settle(start(input_tokens=3))
    reader.settle(b'{"type":"ping"}')
    assert (reader.given, reader.begun) == (True, False)
    reader.settle(b'{"type":"content_block_start","index":0}')
    assert reader.begun


def test_an_error_of_the_engine_is_passed_on_in_its_own_words() -> None:
    reader, error = Counted(IDS), b'{"type":"error","error":{"type":"internal_error","message":"out of memory"}}'
    assert reader.settle(error) == error
    assert (reader.failed, reader.given, reader.words) == (True, False, "out of memory")


def test_a_whole_answer_stays_as_it_is() -> None:
    answer = whole(kv_transfer_params={"a": 1})
    assert Counted(IDS).settle_whole(answer) == answer
    with pytest.raises(MitigationUnconfirmed):
        Counted((1, 2)).settle_whole(answer)


def test_the_states_that_were_served_are_checked_and_taken_out() -> None:
    served = {FIELD: to_params([PATCH])}
    assert Counted(IDS, [PATCH]).settle_whole(whole(kv_transfer_params=served)) == whole()
    kept = json.loads(Counted(IDS, [PATCH]).settle_whole(whole(kv_transfer_params={**served, "a": 1})))
    assert kept["kv_transfer_params"] == {"a": 1}
    with pytest.raises(MitigationUnconfirmed):
        Counted(IDS, [PATCH]).settle_whole(whole())
