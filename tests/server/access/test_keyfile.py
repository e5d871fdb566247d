import multiprocessing
import os
import stat
from pathlib import Path

import pytest

from unhitch.errors import KeyFileError
from unhitch_server.access import keyfile
from unhitch_server.access.keys import Keys

ADDED_BY_EACH = 8


def add_some(path: Path, who: str) -> None:
    for number in range(ADDED_BY_EACH):
        with keyfile.alone(path):
            Keys.read(path).added(f"{who}{number}")[0].write(path)


def test_only_its_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_text("old")
    path.chmod(0o666)
    keyfile.write(path, b"new")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "keys.json"
    keyfile.write(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left on device"):
        keyfile.write(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_and_what_it_names_is_replaced(tmp_path: Path) -> None:
    target, link = tmp_path / "real.json", tmp_path / "keys.json"
    keyfile.write(target, b"old")
    link.symlink_to(target)
    keyfile.write(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_missing_folder_and_a_missing_file_are_said(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="No such file or directory"):
        keyfile.write(tmp_path / "no" / "keys.json", b"")
    with pytest.raises(KeyFileError, match="cannot be opened"), keyfile.alone(tmp_path / "no" / "keys.json"):
        pass
    with pytest.raises(KeyFileError, match="unhitch keys add NAME --file"):
        keyfile.read(tmp_path / "keys.json")


def test_a_file_beyond_the_bound_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b" " * (keyfile.MOST_BYTES + 1))
    with pytest.raises(KeyFileError, match="are the most that is read"):
        keyfile.read(path)


def test_the_stamp_changes_with_every_write_and_with_the_mode(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    assert keyfile.stamp(path) is None
    stamps = set()
    for _ in range(20):
        keyfile.write(path, b"same")
        stamps.add(keyfile.stamp(path))
    assert keyfile.read(path).stamp == keyfile.stamp(path)
    path.chmod(0o640)
    assert keyfile.stamp(path) not in stamps
    assert len(stamps) == 20


def test_programs_that_add_keys_at_once_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    Keys().write(path)
    context = multiprocessing.get_context("fork")
    programs = [context.Process(target=add_some, args=(path, who)) for who in "abc"]
    for program in programs:
        program.start()
    for program in programs:
        program.join(60)
    names = {key.name for key in Keys.read(path).all}
    assert names == {f"{who}{number}" for who in "abc" for number in range(ADDED_BY_EACH)}
