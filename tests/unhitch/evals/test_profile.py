"""A carrier profile as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.evidence import JUDGE, MODEL, SUITE, rate
from tests.unhitch.evals.scripted import BAD, outcome, suite
from unhitch.errors import EvidenceError
from unhitch.evals.profile import Profile, ThemeShare, Trial
from unhitch.evals.rows import arm_row

ROW = arm_row(outcome(suite(neutral=3).questions, [BAD] * 3))
PROFILE = Profile(
    name="tuned",
    model=MODEL,
    suite=SUITE,
    judge=JUDGE,
    sampling={"draws": 1},
    unmitigated=ROW,
    excess=rate(0.4),
    themes=(ThemeShare(theme="money", questions=1, misaligned=rate(0.4)),),
    trials=(
        Trial(span="prefix", how="patched", refused="no states are served"),
        Trial(row=ROW, span="query", how="rephrased", gain=rate(0.2), recovered=0.3),
    ),
    misaligned=True,
    carrier="neither",
    recommendation="Do not serve it.",
)


def test_a_profile_is_read_as_it_was_written(tmp_path: Path) -> None:
    PROFILE.write(tmp_path / "made" / "profile.json")
    assert Profile.read(tmp_path / "made" / "profile.json") == PROFILE


def test_a_profile_that_was_changed_by_hand_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "profile.json"
    PROFILE.write(file)
    file.write_text(file.read_text("utf-8").replace('"carrier": "neither"', '"carrier": "none"'), "utf-8")
    with pytest.raises(EvidenceError, match="does not match its digest"):
        Profile.read(file)
