"""A file of keys, and a clock that tests move."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from unhitch_server.access.keys import Keys


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Filed:
    """A file of keys on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        Keys().write(path)

    def add(
        self, name: str, models: Sequence[str] = ("*",), per_minute: int | None = None, concurrent: int | None = None
    ) -> str:
        """Adds a key, and gives the key itself."""
        keys, secret = Keys.read(self.path).added(name, models=models, per_minute=per_minute, concurrent=concurrent)
        keys.write(self.path)
        return secret

    def revoke(self, name: str) -> None:
        Keys.read(self.path).revoked(name).write(self.path)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def filed(tmp_path: Path) -> Filed:
    return Filed(tmp_path / "keys.json")
