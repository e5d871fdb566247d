from __future__ import annotations

from pathlib import Path

import pytest

from unhitch.engine import served
from unhitch.errors import CheckpointError, StateError
from unhitch.states.fingerprint import model_digest
from unhitch_server.states.folder import shelf_of


def test_an_adapters_shelf_has_its_digest_and_its_bases(tmp_path: Path) -> None:
    what = served.find("mini-finance")
    shelf = shelf_of(tmp_path, what)
    assert (shelf.digest, shelf.base_digest) == (model_digest(what.adapters["mini-finance"]), model_digest(what.model))
    whole = shelf_of(tmp_path, served.find("mini-base"))
    assert (whole.digest, whole.base_digest) == (model_digest(what.model), None)


def test_a_folder_that_is_missing_or_holds_what_is_no_state_is_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is no folder"):
        shelf_of(tmp_path / "nowhere", served.find("mini-base"))
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(StateError, match="x.safetensors is no state"):
        shelf_of(tmp_path, served.find("mini-base"))
