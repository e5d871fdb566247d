import asyncio
import json
import logging
import os
from pathlib import Path

import pytest

from tests.server.access.conftest import Clock, Filed
from unhitch.errors import InvalidKey, KeyFileError
from unhitch_server.access import keyfile
from unhitch_server.access.keyring import LOOK_SECONDS, Keyring


async def test_a_key_that_is_added_or_revoked_counts_after_a_second(filed: Filed, clock: Clock) -> None:
    keyring = Keyring(filed.path, clock)
    secret = filed.add("a").encode()
    clock.now += LOOK_SECONDS
    assert (await keyring.current()).find(secret).name == "a"
    filed.revoke("a")
    assert (await keyring.current()).find(secret).name == "a"
    clock.now += LOOK_SECONDS
    with pytest.raises(InvalidKey):
        (await keyring.current()).find(secret)


async def test_a_file_that_has_not_changed_is_not_read_again(
    filed: Filed, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring(filed.path, clock)

    def never(path: Path) -> keyfile.Content:
        raise AssertionError(path)

    monkeypatch.setattr(keyfile, "read", never)
    clock.now += LOOK_SECONDS
    before = keyring.keys
    assert await keyring.current() is before


@pytest.mark.parametrize("content", ["", "{", '{"version": 1, "keys": [{}]}', None])
async def test_a_damaged_or_missing_file_keeps_the_keys_and_is_logged_once(
    filed: Filed, clock: Clock, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    secret = filed.add("a").encode()
    keyring = Keyring(filed.path, clock)
    if content is None:
        filed.path.unlink()
    else:
        filed.path.write_text(content)
    for _ in range(3):
        clock.now += LOOK_SECONDS
        assert (await keyring.current()).find(secret).name == "a"
    (record,) = [each for each in caplog.records if each.levelno == logging.ERROR]
    assert "The keys that were in force stay so." in record.getMessage()


async def test_a_file_that_is_half_damaged_changes_nothing(filed: Filed, clock: Clock) -> None:
    secret = filed.add("a").encode()
    keyring = Keyring(filed.path, clock)
    filed.revoke("a")
    document = json.loads(filed.path.read_text())
    document["keys"].append({"name": "b"})
    filed.path.write_text(json.dumps(document))
    clock.now += LOOK_SECONDS
    assert (await keyring.current()).find(secret).name == "a"


async def test_a_mended_file_counts_again(filed: Filed, clock: Clock) -> None:
    keyring = Keyring(filed.path, clock)
    good = filed.path.read_bytes()
    filed.path.unlink()
    clock.now += LOOK_SECONDS
    await keyring.current()
    keyfile.write(filed.path, good)
    secret = filed.add("a").encode()
    clock.now += LOOK_SECONDS
    assert (await keyring.current()).find(secret).name == "a"


async def test_no_two_requests_read_the_file_at_once(
    filed: Filed, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keyring = Keyring(filed.path, clock)
    filed.add("a")
    clock.now += LOOK_SECONDS
    read, calls = keyfile.read, []
    monkeypatch.setattr(keyfile, "read", lambda path: calls.append(path) or read(path))  # type: ignore[func-returns-value]
    await asyncio.gather(*(keyring.current() for _ in range(10)))
    assert len(calls) == 1


def test_a_proxy_does_not_start_with_a_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError):
        Keyring(tmp_path / "keys.json")
    os.mkdir(tmp_path / "folder")
    with pytest.raises(KeyFileError, match="Is a directory"):
        Keyring(tmp_path / "folder")
