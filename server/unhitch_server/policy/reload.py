"""The policies in force: read once, and again whenever their file changes."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from unhitch.registry import Registry
from unhitch_server.policy.errors import Fault, InvalidPolicy
from unhitch_server.policy.places import Places
from unhitch_server.policy.reading import read
from unhitch_server.policy.table import PolicyTable
from unhitch_server.policy.tree import MAX_BYTES

LOOK_SECONDS = 1.0
"""How often the file is looked at."""

_Seen: TypeAlias = tuple[int, ...]

_log = logging.getLogger(__name__)


class Policies:
    """Holds the policies in force. Use as an async context manager, which watches the file.

    All or nothing: a file that cannot be taken leaves the policies as they are, and is logged once. Requests under way
    keep what was decided for them. Upstreams and canaries cannot change without a restart: a file in which they differ
    is not taken.

    Args:
        table: What is in force at first.
        file: What it was read from; None where it does not change.
    """

    def __init__(self, table: PolicyTable, file: PolicyFile | None = None) -> None:
        self._table = table
        self._file = file
        self._problem: InvalidPolicy | None = None
        self._lock = threading.Lock()
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    def of_file(
        cls,
        path: Path,
        registry: Registry,
        *,
        upstream: str | None = None,
        environ: Mapping[str, str] | None = None,
    ) -> Self:
        """The policies in a file.

        Args:
            path: The file.
            registry: Where strategies are looked up.
            upstream: The engine's base URL, where the command line names it.
            environ: Variables that set single values; None for none.

        Raises:
            InvalidPolicy: The file cannot be read or used, or nothing says where the engine is.
        """
        file = PolicyFile(path, registry, upstream, dict(environ or {}))
        table = file.read()
        if not table.document.upstreams:
            raise InvalidPolicy(
                [Fault(str(path), "no upstream is named; name one under `upstreams`, or by --upstream")]
            )
        return cls(table, file)

    @property
    def current(self) -> PolicyTable:
        """The policies in force."""
        return self._table

    @property
    def problem(self) -> InvalidPolicy | None:
        """Why the file as it is now was not taken; None where it was."""
        return self._problem

    def reload(self) -> bool:
        """Reads the file now, whether it changed or not; what is wrong with it is logged.

        Returns:
            Whether its policies are in force.
        """
        if self._file is None:
            _log.info("no policy file is in use, so there is nothing to read again")
            return True
        with self._lock:
            return self._take(self._file)

    def look(self) -> None:
        """Reads the file if it changed since it was last read."""
        if self._file is None:
            return
        with self._lock:
            if self._file.changed():
                self._take(self._file)

    def _take(self, file: PolicyFile) -> bool:
        try:
            table = file.read()
            _check_fixed(self._table, table, file.places)
        except InvalidPolicy as error:
            self._problem = error
            _log.error("the policies stay as they were, since the file cannot be taken:\n%s", error.message)
            return False
        self._table, self._problem = table, None
        _log.info("policies of %s are in force: %s", file.path, ", ".join(table.names))
        return True

    async def __aenter__(self) -> Self:
        if self._file is not None:
            self._watching = asyncio.create_task(self._watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await asyncio.to_thread(self.look)
            except Exception:  # watching must outlive what nobody foresaw
                _log.exception("the policy file could not be looked at")


class PolicyFile:
    """The file, and how it was when it was last read.

    Args:
        path: Where it lies.
        registry: Where strategies are looked up.
        upstream: The engine's base URL, where the command line names it.
        environ: Variables that set single values.
    """

    def __init__(self, path: Path, registry: Registry, upstream: str | None, environ: Mapping[str, str]) -> None:
        self.path = path
        self.places = Places(str(path))
        self._registry = registry
        self._upstream = upstream
        self._environ = environ
        self._seen: _Seen = ()
        self._raw: bytes | None = None

    def read(self) -> PolicyTable:
        """The policies in it.

        Raises:
            InvalidPolicy: It cannot be read, or used.
        """
        self._seen = self._look()
        self._raw = None
        try:
            raw = self._raw = self._content()
        except OSError as error:
            raise InvalidPolicy([Fault(str(self.path), f"cannot be read: {error.strerror}")]) from error
        reading = read(raw, str(self.path), upstream=self._upstream, environ=self._environ)
        self.places = reading.places
        return PolicyTable(reading.document, self._registry, reading.places)

    def changed(self) -> bool:
        """Whether its content is another than when it was last read; whether it can be read counts, too."""
        seen = self._look()
        if seen == self._seen:
            return False
        self._seen = seen
        try:
            return self._content() != self._raw
        except OSError:
            return self._raw is not None

    def _content(self) -> bytes:
        with self.path.open("rb") as file:
            return file.read(MAX_BYTES + 1)

    def _look(self) -> _Seen:
        try:
            stat = self.path.stat()  # of what a link leads to: mounted configurations are swapped by links
        except OSError:
            return ()
        return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev


def _check_fixed(old: PolicyTable, new: PolicyTable, places: Places) -> None:
    for part in ("upstreams", "canaries"):
        if getattr(new.document, part) != getattr(old.document, part):
            raise InvalidPolicy(
                [places.fault((part,), f"{part} changed, which takes a restart; nothing of the file was taken")]
            )
