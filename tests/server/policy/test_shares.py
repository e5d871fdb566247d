from __future__ import annotations

import pytest

from unhitch_server.policy.shares import in_share

SESSIONS = [f"session {number}" for number in range(10_000)]


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_of_ten_thousand_sessions_the_share_is_as_asked(percent: float) -> None:
    inside = sum(in_share(percent, "strict", session) for session in SESSIONS)
    spread = (10_000 * percent / 100 * (1 - percent / 100)) ** 0.5
    assert abs(inside - 100 * percent) < 4 * spread


def test_nobody_and_all_are_exact() -> None:
    assert not any(in_share(0, "strict", session) for session in SESSIONS)
    assert all(in_share(100, "strict", session) for session in SESSIONS)


def test_a_larger_share_includes_a_smaller_one() -> None:
    assert all(in_share(20, "strict", session) for session in SESSIONS if in_share(10, "strict", session))


def test_policies_share_out_independently() -> None:
    both = sum(in_share(50, "a", session) and in_share(50, "b", session) for session in SESSIONS)
    assert 2300 < both < 2700


def test_the_share_of_a_session_never_changes_between_releases() -> None:
    halves = [in_share(50, "strict", f"session {number}") for number in range(8)]
    assert halves == [False, True, False, True, True, True, True, False]
