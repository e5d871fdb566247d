from __future__ import annotations

from typing import Any

import pytest

from tests.cards import BASE, TUNED, card
from tests.server.fake_connector import entry
from unhitch.errors import EngineError, MitigationUnavailable
from unhitch_server.states.listing import Listing

PREFIX, POSTFIX = card("prefix", [1, 2]), card("postfix", [1, 2, 3], 2)


def body(**fields: Any) -> dict[str, Any]:
    models = [
        {"id": "base", "digest": BASE, "base": None, "base_digest": None},
        {"id": "tuned", "digest": TUNED, "base": "base", "base_digest": BASE},
        {"id": "lost", "digest": None, "base": None, "base_digest": None},
    ]
    given = {"object": "list", "protocol": 1, "folder": "/s", "overlays": True, "models": models}
    return given | {"data": [entry(PREFIX), entry(POSTFIX)], "problems": []} | fields


def test_an_adapters_shelf_holds_all_cards_and_both_digests() -> None:
    shelf = Listing.parse(body()).shelf("tuned")
    assert (shelf.cards, shelf.digest, shelf.base_digest) == ((PREFIX, POSTFIX), TUNED, BASE)


def test_an_engine_without_overlays_serves_no_postfix() -> None:
    assert Listing.parse(body(overlays=False)).shelf("tuned").cards == (PREFIX,)


def test_a_header_that_is_not_understood_is_a_problem_and_no_more() -> None:
    strange = {"id": "e" * 64, "header": entry(PREFIX)["header"] | {"format": 2}}
    listing = Listing.parse(body(data=[strange, entry(PREFIX)], problems=[{"file": "x", "message": "no state"}]))
    assert listing.cards == (PREFIX,)
    assert [text.split(":")[0] for text in listing.problems] == ["x", "e" * 64]


def test_headers_that_were_read_before_are_kept() -> None:
    earlier = Listing.parse(body())
    again = Listing.parse(body(data=[{"id": PREFIX.id, "header": {}}]), earlier)
    assert again.cards[0] is earlier.cards[0]


def test_a_shelf_is_made_once() -> None:
    listing = Listing.parse(body())
    assert listing.shelf("tuned") is listing.shelf("tuned")


def test_states_are_too_large_together_where_a_worker_may_hold_less() -> None:
    size = PREFIX.header.nbytes() + POSTFIX.header.nbytes()
    both = [PREFIX.id, POSTFIX.id]
    small = Listing.parse(body(memory_bytes=size - 1))
    assert f"has {size} bytes" in str(small.too_large(both))
    assert small.too_large(both[:1]) is None
    assert Listing.parse(body(memory_bytes=size)).too_large(both) is None
    assert Listing.parse(body()).too_large(both) is None


def test_a_problem_is_found_by_its_state_and_is_none_of_a_models() -> None:
    listing = Listing.parse(body(problems=[{"file": f"{'e' * 64}.safetensors", "message": "other layers"}]))
    assert listing.problem("e" * 64) == f"{'e' * 64}.safetensors: other layers"
    assert listing.problem("f" * 64) is None
    with pytest.raises(MitigationUnavailable, match="it says nothing of its digest"):
        listing.shelf("lost")


def test_what_is_no_list_is_not_repeated_since_it_may_be_of_a_prompt() -> None:
    with pytest.raises(EngineError, match=r"data\.0\.header") as caught:
        Listing.parse(body(data=[{"id": "e" * 64, "header": "SECRET"}]))
    assert "SECRET" not in caught.value.message


@pytest.mark.parametrize("model", ["lost", "unknown"])
def test_a_model_without_a_digest_is_served_no_state(model: str) -> None:
    listing = Listing.parse(body(problems=[{"file": "/models/lost", "message": "no safetensors"}]))
    with pytest.raises(MitigationUnavailable, match=f"{model}.*no safetensors"):
        listing.shelf(model)


def test_another_protocol_is_refused_with_both_versions() -> None:
    with pytest.raises(MitigationUnavailable, match="version 2 of the protocol for states, and this proxy 1"):
        Listing.parse({"protocol": 2, "else": 1})


@pytest.mark.parametrize("answer", [None, [], {}, {"protocol": 1}, {"protocol": 1, "models": 3, "data": []}])
def test_what_is_no_list_of_states_is_the_engines_fault(answer: object) -> None:
    with pytest.raises(EngineError, match="no list of states"):
        Listing.parse(answer)
