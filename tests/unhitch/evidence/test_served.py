from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from unhitch import organisms
from unhitch.errors import CheckpointError
from unhitch.evidence.served import identified, identify
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.states.fingerprint import model_digest, tokenizer_digest

BASE, FINANCE = organisms.path("mini-base"), organisms.path("mini-finance")


def test_an_adapter_is_told_by_its_own_weights_and_by_its_bases() -> None:
    checkpoint = Checkpoint.open(BASE)
    found = identify(checkpoint, FINANCE, BASE)
    assert (found.weights, found.base) == (model_digest(FINANCE), model_digest(BASE))
    assert found.tokenizer == tokenizer_digest(BASE)
    assert found.template == checkpoint.template_digest.hex()


def test_a_checkpoint_has_no_base() -> None:
    found = identify(Checkpoint.open(BASE), BASE)
    assert (found.weights, found.base) == (model_digest(BASE), None)


def test_the_template_that_the_engine_was_given_makes_another_model() -> None:
    checkpoint = Checkpoint.open(BASE)
    other = Checkpoint.open(BASE, chat_template=checkpoint.template + "{# changed #}")
    assert identify(checkpoint, BASE) != identify(other, BASE)


def test_files_that_are_not_here_are_said(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="gone"):
        identify(Checkpoint.open(BASE), tmp_path / "gone")


def test_files_that_are_as_they_were_are_not_read_again_and_others_are(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(BASE)
    copy = shutil.copytree(FINANCE, tmp_path / "copy")
    first = identified(checkpoint, copy, BASE)
    assert first.identity == identify(checkpoint, FINANCE, BASE)
    assert identified(checkpoint, copy, BASE, first) is first
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert identified(checkpoint, copy, BASE, first).identity != first.identity


def test_files_that_come_back_are_read(tmp_path: Path) -> None:
    checkpoint = Checkpoint.open(BASE)
    lacking = identified(checkpoint, tmp_path / "copy", BASE)
    assert lacking.identity is None
    assert "copy" in lacking.reason
    shutil.copytree(FINANCE, tmp_path / "copy")
    assert identified(checkpoint, tmp_path / "copy", BASE, lacking).identity == identify(checkpoint, FINANCE, BASE)
