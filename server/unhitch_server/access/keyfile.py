"""The file of keys on the disk: read within bounds, replaced at one stroke, changed by one program at a time."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from unhitch.errors import KeyFileError

MOST_BYTES = 4 * 2**20
"""Largest file that is read; thousands of keys take less."""

OWNER_ONLY = 0o600

Stamp = tuple[int, int, int, int]
"""Changes whenever a file does: its inode, size, and times of change in nanoseconds."""


@dataclass(frozen=True, slots=True)
class Content:
    """What a file held.

    Args:
        content: Its bytes.
        stamp: Of the file that they were read from.
    """

    content: bytes
    stamp: Stamp


def stamp(path: Path) -> Stamp | None:
    """The stamp of a file; None where there is none."""
    try:
        return _stamp(os.stat(path))
    except OSError:
        return None


def read(path: Path) -> Content:
    """A file's bytes.

    Raises:
        KeyFileError: It cannot be read, or is too large.
    """
    try:
        with path.open("rb") as file:
            found = _stamp(os.fstat(file.fileno()))
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise KeyFileError(
            f"the file of keys {path} cannot be read: {error.strerror}. `unhitch keys add NAME --file {path}` "
            "makes one."
        ) from error
    if len(content) > MOST_BYTES:
        raise KeyFileError(f"the file of keys {path} has more than {MOST_BYTES} bytes, which are the most that is read")
    return Content(content, found)


def write(path: Path, content: bytes) -> None:
    """Replaces a file, so that readers see the old bytes or the new ones, and only its owner sees any.

    Args:
        path: A symbolic link stays, and what it names is replaced.
        content: The new bytes.

    Raises:
        KeyFileError: It cannot be written.
    """
    target = path.resolve()
    try:
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".unfinished-", delete=False) as file:
            try:
                os.chmod(file.name, OWNER_ONLY)
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
                os.replace(file.name, target)
            except OSError:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise KeyFileError(f"the file of keys {path} cannot be written: {error.strerror}") from error


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Has one program at a time change the file, so that none undoes what another wrote.

    Raises:
        KeyFileError: The folder cannot be opened.
    """
    import fcntl  # not on Windows, where only these commands need it

    try:
        # The folder is locked, since the file is another one after each change.
        folder = os.open(path.resolve().parent, os.O_RDONLY)
    except OSError as error:
        raise KeyFileError(f"the folder of {path} cannot be opened: {error.strerror}") from error
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _stamp(found: os.stat_result) -> Stamp:
    return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns
