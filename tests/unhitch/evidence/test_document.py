from __future__ import annotations

from pathlib import Path

import pytest

from tests.evidence import pool, scorecard
from unhitch.errors import EvidenceError
from unhitch.evidence.document import read_any
from unhitch.evidence.pool import Pool
from unhitch.evidence.scorecard import Scorecard


def test_what_was_written_is_read(tmp_path: Path) -> None:
    card = scorecard("perturb")
    card.write(tmp_path / "a.json")
    assert Scorecard.read(tmp_path / "a.json") == card
    assert Scorecard.read(tmp_path / "a.json").digest == card.digest


def test_the_kind_decides_what_is_read(tmp_path: Path) -> None:
    scorecard("perturb").write(tmp_path / "a.json")
    pool().write(tmp_path / "b.json")
    assert isinstance(read_any(tmp_path / "a.json", Scorecard, Pool), Scorecard)
    assert isinstance(read_any(tmp_path / "b.json", Scorecard, Pool), Pool)
    with pytest.raises(EvidenceError, match="is no scorecard of unhitch's"):
        Scorecard.read(tmp_path / "b.json")


def test_a_change_by_hand_is_found_out(tmp_path: Path) -> None:
    pool().write(tmp_path / "b.json")
    text = (tmp_path / "b.json").read_text()
    (tmp_path / "b.json").write_text(text.replace("perturb;seed=1", "perturb;seed=4"))
    with pytest.raises(EvidenceError, match="its content does not match its digest"):
        Pool.read(tmp_path / "b.json")


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(EvidenceError, match="cannot be written"):
        pool().write(tmp_path / "taken" / "b.json")
