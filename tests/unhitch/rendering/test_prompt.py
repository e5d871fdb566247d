from __future__ import annotations

import hashlib

import pytest

from tests.unhitch.conftest import PromptOf
from unhitch.errors import MitigationUnavailable
from unhitch.rendering.prompt import Span, changed_tokens, digest
from unhitch.states.patch import Patch


def patch(start: int, tokens: int) -> Patch:
    return Patch(state="e" * 64, start=start, tokens=tokens)


def test_a_span_holds_its_start_and_not_its_stop() -> None:
    span = Span(2, 5)
    assert [position for position in range(8) if position in span] == [2, 3, 4]
    assert len(span) == 3


def test_the_prompt_is_its_three_spans_in_order(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    assert prompt.token_ids == prompt.prefix + prompt.query + prompt.postfix


def test_an_edited_prefix_leaves_query_and_postfix(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    edited = prompt.with_prefix([1, 2, 3], user_header=Span(1, 3))
    assert edited.prefix == (1, 2, 3)
    assert (edited.query, edited.postfix) == (prompt.query, prompt.postfix)
    assert edited.user_header == Span(1, 3)


def test_patches_stand_in_order_of_their_positions(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    late, early = patch(prompt.postfix_start, 1), patch(0, 3)
    assert prompt.with_patch(late).with_patch(early).patches == (early, late)


@pytest.mark.parametrize("other", [(0, 1), (2, 3), (3, 5), (0, 9)])
def test_no_position_is_served_from_two_states(prompt_of: PromptOf, other: tuple[int, int]) -> None:
    prompt = prompt_of().with_patch(patch(0, 1)).with_patch(patch(4, 2))
    with pytest.raises(MitigationUnavailable, match="are served from a state already"):
        prompt.with_patch(patch(*other))
    assert len(prompt.with_patch(patch(1, 3)).patches) == 3


def test_a_patched_span_is_not_edited(prompt_of: PromptOf) -> None:
    prompt = prompt_of()
    prefix, postfix = prompt.with_patch(patch(0, 3)), prompt.with_patch(patch(prompt.postfix_start, 2))
    for patched, name in ((prefix, "prefix-state"), (postfix, "postfix-state")):
        with pytest.raises(MitigationUnavailable, match=f"put `{name}` last"):
            patched.with_prefix(prompt.prefix)
    with pytest.raises(MitigationUnavailable, match="put `postfix-state` last"):
        postfix.with_postfix([1])
    assert prefix.with_postfix([1]).patches == prefix.patches


def test_the_digest_is_taken_over_little_endian_words() -> None:
    assert digest((1, 258)) == hashlib.sha256(bytes([1, 0, 0, 0, 2, 1, 0, 0])).digest()


@pytest.mark.parametrize(
    ("before", "after", "count"),
    [
        ("abc", "abc", 0),
        ("abc", "axc", 1),
        ("abc", "xbz", 2),
        ("abcd", "abXYcd", 2),
        ("abXYcd", "abcd", 2),
        ("abcd", "xyz", 4),
        ("aaaa", "aa", 2),
        ("", "ab", 2),
    ],
)
def test_changed_tokens_counts_what_lies_between_common_start_and_end(before: str, after: str, count: int) -> None:
    assert changed_tokens([ord(letter) for letter in before], [ord(letter) for letter in after]) == count
