"""The list of models that a client sees."""

from __future__ import annotations

import json

import pytest

from unhitch_server.model_list import listed

ENGINE = {"object": "list", "data": [{"id": "base", "root": "/b"}, {"id": "tuned", "parent": "base", "new": 1}], "x": 2}
BODY = json.dumps(ENGINE).encode()


def test_an_alias_has_the_card_of_its_model_under_its_own_name() -> None:
    found = json.loads(listed(BODY, {"safe": "tuned", "lost": "nowhere"}, lambda _: True))
    assert found == ENGINE | {"data": [*ENGINE["data"], {"id": "safe", "parent": "base", "new": 1}]}  # type: ignore[misc]


def test_a_client_sees_what_its_key_is_for() -> None:
    found = json.loads(listed(BODY, {"safe": "tuned"}, lambda name: name == "safe"))
    assert [card["id"] for card in found["data"]] == ["safe"]


@pytest.mark.parametrize("body", [b"", b"no JSON", b"[]", b'{"data": 3}', b'{"data": [{}]}', b"[" * 100_000])
def test_what_is_no_list_of_models_stays_as_it_is(body: bytes) -> None:
    assert listed(body, {"safe": "tuned"}, lambda _: True) == body
