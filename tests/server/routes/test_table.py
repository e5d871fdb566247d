"""How errors of ours are written, by route; and bounds that hold on all."""

import json

import pytest

from unhitch.errors import EngineUnavailable, InvalidBody
from unhitch_server.access.bounds import MOST_DEPTH, MOST_MESSAGES
from unhitch_server.routes.request import GenerationRequest
from unhitch_server.routes.table import ROUTES, errors_of


@pytest.mark.parametrize(
    ("path", "top"),
    [
        ("/v1/messages", ["error", "type"]),
        ("/v1/messages/count_tokens", ["error", "type"]),
        ("/v1/messagesque", ["error"]),
        ("/v1/chat/completions", ["error"]),
        ("/v1/models", ["error"]),
    ],
)
def test_errors_are_in_the_form_that_clients_of_a_path_read(path: str, top: list[str]) -> None:
    assert sorted(json.loads(errors_of(path).error_body(EngineUnavailable("broke")))) == top


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.path)
def test_a_body_that_is_nested_too_deeply_is_refused(route: type[GenerationRequest]) -> None:
    with pytest.raises(InvalidBody, match=f"more than {MOST_DEPTH} levels"):
        route.parse(b'{"tools": ' + b"[" * MOST_DEPTH + b"]" * MOST_DEPTH + b"}")


@pytest.mark.parametrize("route", ROUTES.values(), ids=lambda route: route.path)
def test_a_body_that_is_not_in_utf_8_is_refused(route: type[GenerationRequest]) -> None:
    with pytest.raises(InvalidBody, match="UTF-8"):
        route.parse('{"model": "m"}'.encode("utf-16"))


@pytest.mark.parametrize("member", ["messages", "input"])
def test_a_conversation_of_too_many_messages_is_refused(member: str) -> None:
    with pytest.raises(InvalidBody, match=f"{MOST_MESSAGES} are the most") as raised:
        ROUTES["/v1/chat/completions"].parse(json.dumps({member: [0] * (MOST_MESSAGES + 1)}).encode())
    assert raised.value.param == member
