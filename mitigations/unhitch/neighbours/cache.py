"""Neighbours of tokens on disk, one small file a token, so that several processes can share them without locks.

    CACHE/neighbours/KEY/TOKEN.json      a list of ids, nearest first
    CACHE/embeddings/KEY                 the digest of a matrix, by its file's path, size and time of change

A file is written under a name of its own and renamed, so a reader sees all of it or nothing. Nothing here fails: what
cannot be read is computed again, and what cannot be written is not kept; both are logged.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from unhitch.neighbours.embeddings import Embeddings

_log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """`$UNHITCH_CACHE`, else `$XDG_CACHE_HOME/unhitch`, else `~/.cache/unhitch`; it need not exist."""
    if own := os.environ.get("UNHITCH_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "unhitch"


class NeighbourCache:
    """Reads and writes the files; keeps nothing in memory.

    Args:
        folder: Made when it is first needed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def default(cls) -> NeighbourCache:
        """The cache in the user's cache folder."""
        return cls(cache_folder())

    def read(self, key: str, token: int) -> tuple[int, ...] | None:
        """The neighbours of a token, or None where they are not there or cannot be read."""
        file = self._neighbours(key, token)
        text = _read(file)
        if text is None:
            return None
        try:
            ids = json.loads(text)
        except ValueError:
            ids = None
        if isinstance(ids, list) and all(type(token) is int for token in ids):
            return tuple(ids)
        _log.warning("%s is damaged; its neighbours are computed anew", file)
        return None

    def write(self, key: str, token: int, neighbours: Sequence[int]) -> None:
        """Keeps the neighbours of a token."""
        _write(self._neighbours(key, token), json.dumps(list(neighbours)))

    def digest(self, embeddings: Embeddings) -> str:
        """The digest of a matrix, computed only where its file was not seen before or has changed since."""
        status = embeddings.file.stat()
        seen = f"{embeddings.file.resolve()}:{status.st_size}:{status.st_mtime_ns}:{embeddings.tensor}"
        file = self._folder / "embeddings" / hashlib.sha256(seen.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        remembered = _read(file)
        if remembered and len(remembered) == 64 and not set(remembered) - set("0123456789abcdef"):
            return remembered
        computed = embeddings.digest()
        _write(file, computed)
        return computed

    def _neighbours(self, key: str, token: int) -> Path:
        return self._folder / "neighbours" / key / f"{token}.json"


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _log.warning("%s cannot be read (%s)", file, error)
        return None


def _write(file: Path, text: str) -> None:
    temporary = file.with_name(f".{file.name}.{uuid4().hex}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="ascii")
        temporary.replace(file)
    except OSError as error:
        _log.warning("%s cannot be written (%s); it will be computed again in another process", file, error)
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
