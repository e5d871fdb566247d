import json

import pytest

from unhitch.errors import InvalidBody
from unhitch_server.routes.chat import ChatRequest

IDS = (7, 8, 9)


def test_token_ids_are_put_into_the_body_and_nothing_else_changes() -> None:
    text = '{"model":"m", "x":1e2, "kv_transfer_params": {"a": 1}, "return_token_ids": false, "messages":[]}'
    sent = ChatRequest.parse(text.encode()).encode(IDS).decode()
    assert sent.startswith('{"model":"m", "x":1e2, "kv_transfer_params": {')
    assert json.loads(sent)["kv_transfer_params"] == {"a": 1, "prompt_token_ids": [7, 8, 9]}
    assert json.loads(sent)["return_token_ids"] is True


@pytest.mark.parametrize(
    ("asked", "wants"), [(True, True), ("yes", True), (False, False), (None, False), ("no", False)]
)
def test_token_ids_are_the_clients_if_it_asked_for_them(asked: object, wants: bool) -> None:
    body = {"model": "m", "messages": [], "return_token_ids": asked}
    assert ChatRequest.parse(json.dumps(body).encode()).wants_token_ids is wants


@pytest.mark.parametrize(
    "body", [b"", b"[1]", b"nul", b'{"model": 3}', b'{"kv_transfer_params": 1}', b"\xff\xfe", b"[" * 100_000]
)
def test_what_is_no_chat_body_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidBody):
        ChatRequest.parse(body)
