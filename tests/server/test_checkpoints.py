"""Checkpoints are opened once, and again where their files have changed."""

import os
import shutil
from pathlib import Path

import pytest

from unhitch import organisms
from unhitch.errors import CheckpointError
from unhitch_server.checkpoints import Checkpoints


@pytest.fixture
def files(tmp_path: Path) -> Path:
    return Path(shutil.copytree(organisms.path("mini-base"), tmp_path / "model"))


def test_files_that_are_as_they_were_are_not_read_again(files: Path) -> None:
    opened = Checkpoints(None)
    assert opened.open(str(files)) is opened.open(str(files))
    os.utime(files / "model.safetensors", (1, 1))
    assert opened.open(str(files)) is opened.open(str(files))


def test_files_that_have_changed_are_read_again(files: Path) -> None:
    opened = Checkpoints(None)
    before = opened.open(str(files))
    template = next(files.glob("*.jinja"))
    template.write_text(template.read_text("utf-8") + "{# changed #}", "utf-8")
    after = opened.open(str(files))
    assert after is not before
    assert after.template.endswith("{# changed #}")


def test_a_folder_that_is_gone_is_an_error_and_found_once_it_is_back(files: Path) -> None:
    opened = Checkpoints(None)
    before = opened.open(str(files))
    moved = files.rename(files.with_name("elsewhere"))
    with pytest.raises(CheckpointError):
        opened.open(str(files))
    moved.rename(files)
    assert opened.open(str(files)) is before
