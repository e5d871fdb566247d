"""What a request gets is decided by its words and the states' headers, and what cannot be done is refused by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from tests.unhitch.engine.connector.conftest import HeaderOf, RequestOf
from unhitch.engine.connector.plan import Plan, plan
from unhitch.errors import StateError
from unhitch.states.file import StateHeader
from unhitch.states.patch import Patch, to_params

PREFIX, POSTFIX, GONE = "1" * 64, "2" * 64, "3" * 64
PROMPT = [10, 11, 12, 13, 50, 51, 20, 21]
"""Four tokens of a prefix, two of a query, two of a postfix."""

NONE: Mapping[str, int] = {}

Headers = Callable[[str], StateHeader]
CAPTURE = {"span": "prefix", "start": 0, "tokens": 4, "tokenizer": "a" * 64, "template": "b" * 64}


@pytest.fixture
def header(header_of: HeaderOf) -> Headers:
    known = {
        PREFIX: header_of([10, 11, 12, 13, 14]),
        POSTFIX: header_of([10, 11, 12, 13, 20, 21], span="postfix", start=4),
    }

    def header(state: str) -> StateHeader:
        if state not in known:
            raise StateError(f"the state {state} cannot be read")
        return known[state]

    return header


def patch(state: str = PREFIX, start: int = 0, tokens: int = 4) -> dict[str, Any]:
    return {"state": state, "start": start, "tokens": tokens}


def refusal(made: Plan | None) -> str:
    assert made is not None
    assert made.refusal is not None
    assert (made.patches, made.capture) == ((), None)
    return made.refusal


@pytest.mark.parametrize(
    "params", [None, {}, {"unhitch": None}, {"prompt_token_ids": [1]}, {"do_remote_prefill": True}]
)
def test_a_request_without_our_words_has_no_plan(request_of: RequestOf, header: Headers, params: Any) -> None:
    asked = request_of(PROMPT, None, sampling={"extra_args": {"kv_transfer_params": params}})
    assert plan(asked, header, overlays=True) is None


def test_patches_stand_in_order_of_position(request_of: RequestOf, header: Headers) -> None:
    member = {"patches": [patch(POSTFIX, 6, 2), patch(PREFIX, 0, 4)]}
    made = plan(request_of(PROMPT, member), header, overlays=True)
    assert made is not None
    assert (made.refusal, made.capture) == (None, None)
    assert made.patches == (Patch(**patch(PREFIX, 0, 4)), Patch(**patch(POSTFIX, 6, 2)))
    assert made.prefix == made.patches[0]
    assert made.overlays == made.patches[1:]


def test_a_state_serves_fewer_positions_than_it_has(request_of: RequestOf, header: Headers) -> None:
    made = plan(request_of(PROMPT, {"patches": [patch(tokens=2)]}), header, overlays=True)
    assert made is not None
    assert made.prefix == Patch(**patch(tokens=2))


@pytest.mark.parametrize(
    ("patches", "prompt", "words"),
    [
        ([patch(GONE)], PROMPT, "cannot be read"),
        ([patch(tokens=6)], PROMPT, "has 5 positions, not 6"),
        ([patch(tokens=5)], [10, 11, 12, 13], "the prompt has 4 tokens, so none at 4"),
        ([patch(tokens=5)], PROMPT, "is of other tokens than the prompt has at 0"),
        ([patch(tokens=2)], [10, 12, 11, 13], "is of other tokens"),
        ([patch(start=1, tokens=4)], [9, *PROMPT], "is a prefix's, and begins at position 0, not 1"),
        ([patch(tokens=4)], PROMPT[:4], "at least one token must be left"),
        ([patch(POSTFIX, 5, 2)], PROMPT, "is of other tokens than the prompt has at 5"),
        ([patch(), patch(POSTFIX, 3, 2)], PROMPT, "two patches name the same position"),
        ([], PROMPT, "names no patch"),
        ([{"state": "x", "start": 0, "tokens": 1}], PROMPT, "patches.0.state"),
        ([patch() | {"start": "0"}], PROMPT, "patches.0.start"),
        ([patch() | {"tokens": 0}], PROMPT, "patches.0.tokens"),
        ([patch() | {"layers": 3}], PROMPT, "patches.0.layers"),
    ],
)
def test_what_cannot_be_patched_is_refused_with_the_reason(
    request_of: RequestOf, header: Headers, patches: list[Any], prompt: list[int], words: str
) -> None:
    assert words in refusal(plan(request_of(prompt, {"patches": patches}), header, overlays=True))


@pytest.mark.parametrize("member", ["text", 5, [1], {}, {"patches": None}, {"capture": CAPTURE, "patches": [patch()]}])
def test_words_that_mean_nothing_are_refused(request_of: RequestOf, header: Headers, member: Any) -> None:
    made = plan(request_of(PROMPT, member), header, overlays=True)
    if isinstance(member, dict) and "capture" in member:
        assert made is not None
        assert (made.capture, len(made.patches)) == (None, 1)
    else:
        assert "kv_transfer_params.unhitch" in refusal(made)


def test_a_state_that_is_served_over_what_is_computed_needs_overlays(request_of: RequestOf, header: Headers) -> None:
    asked = request_of(PROMPT, {"patches": [patch(POSTFIX, 6, 2)]})
    assert "overlays" in refusal(plan(asked, header, overlays=False))
    prefix = plan(request_of(PROMPT, {"patches": [patch()]}), header, overlays=False)
    assert prefix is not None
    assert prefix.refusal is None


@pytest.mark.parametrize("count", [0, 5])
def test_logprobs_of_the_prompt_cannot_be_patched(request_of: RequestOf, header: Headers, count: int) -> None:
    extra = {"kv_transfer_params": {"unhitch": {"patches": [patch()]}}}
    asked = request_of(PROMPT, None, sampling={"prompt_logprobs": count, "extra_args": extra})
    assert "prompt_logprobs" in refusal(plan(asked, header, overlays=True))


def test_a_request_that_skips_the_prefix_cache_cannot_be_patched(request_of: RequestOf, header: Headers) -> None:
    extra = {"kv_transfer_params": {"unhitch": {"patches": [patch()]}}}
    asked = request_of(PROMPT, None, sampling={"skip_reading_prefix_cache": True, "extra_args": extra})
    assert refusal(plan(asked, header, overlays=True))


def test_a_fault_of_ours_fails_the_request_and_not_the_engine(request_of: RequestOf) -> None:
    def broken(state: str) -> StateHeader:
        raise ZeroDivisionError(state)

    made = plan(request_of(PROMPT, {"patches": [patch()]}), broken, overlays=True)
    assert "ZeroDivisionError" in refusal(made)


def test_a_capture(request_of: RequestOf, header: Headers) -> None:
    made = plan(request_of(PROMPT[:4], {"capture": CAPTURE}), header, overlays=True)
    assert made is not None
    assert made.capture is not None
    assert made.capture.model_dump() == CAPTURE
    assert (made.patches, made.refusal) == ((), None)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"span": "middle"}, "'prefix', 'query' or 'postfix'"),
        ({"start": -1}, "greater than or equal to 0"),
        ({"tokens": "4"}, "valid integer"),
        ({"tokenizer": "short"}, "pattern"),
        ({"layers": 3}, "not permitted"),
        ({"tokens": 5}, "no positions 0 to 4"),
        ({"start": 4}, "no positions 4 to 3"),
    ],
)
def test_a_capture_that_cannot_be_made_is_refused(
    request_of: RequestOf, header: Headers, changes: dict[str, Any], words: str
) -> None:
    made = plan(request_of(PROMPT[:4], {"capture": CAPTURE | changes}), header, overlays=True)
    assert words in refusal(made)


def test_an_adapter_captures_nothing(request_of: RequestOf, header: Headers) -> None:
    from vllm.lora.request import LoRARequest

    asked = request_of(PROMPT, {"capture": CAPTURE}, lora_request=LoRARequest("adapter", 1, "/adapter"))
    assert "names an adapter" in refusal(plan(asked, header, overlays=True))


def test_equal_requests_share_their_blocks_and_no_others(request_of: RequestOf, header: Headers) -> None:
    def salt(
        member: object, request_id: str = "one", given: str | None = None, generations: Mapping[str, int] = NONE
    ) -> str:
        made = plan(request_of(PROMPT, member), header, overlays=True)
        assert made is not None
        return replace(made, given_salt=given).salt(request_id, generations)

    both = {"patches": [patch(), patch(POSTFIX, 6, 2)]}
    alike = {
        salt({"patches": [patch()]}),
        salt({"patches": [patch()]}, "two"),
        salt({"patches": [patch()]}, generations={POSTFIX: 3}),
    }
    assert len(alike) == 1
    others = [
        salt({"patches": [patch(tokens=3)]}),
        salt({"patches": [patch()]}, given="theirs"),
        salt({"patches": [patch()]}, generations={PREFIX: 1}),
        salt({"patches": [patch()]}, generations={PREFIX: 2}),
        salt({"patches": [patch(POSTFIX, 6, 2)]}),
        salt(both),
        salt({"patches": [patch(GONE)]}),
        salt({"patches": [patch(GONE)]}, "two"),
        salt({"capture": CAPTURE}),
        salt({"capture": CAPTURE}, "two"),
    ]
    # Those that were recorded or refused share with nobody, not even with themselves under another id. Of the same id
    # they do: it is one request.
    assert len({*alike, *others}) == 1 + len(others) - 2


def test_a_salt_is_one_that_vllm_takes(request_of: RequestOf, header: Headers) -> None:
    made = plan(request_of(PROMPT, to_params([Patch(**patch())])), header, overlays=True)
    assert made is not None
    salt = made.salt("one", {})
    assert len(salt) <= 128
    assert salt.isalnum()
