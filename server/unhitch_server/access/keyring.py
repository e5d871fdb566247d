"""The keys that are in force now: those of the file, which is looked at again while the proxy runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path

from unhitch.errors import KeyFileError
from unhitch_server.access import keyfile
from unhitch_server.access.keys import Keys

LOOK_SECONDS = 1.0
"""How long the file is taken to stay as seen: a revoked key is good for so long at most."""

_log = logging.getLogger(__name__)


class Keyring:
    """The keys of a file, always whole: a file that is damaged or gone leaves those that were read before it.

    Args:
        path: The file.
        clock: Seconds that only grow.

    Raises:
        KeyFileError: It cannot be used at start.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        found = keyfile.read(path)
        self.keys, self._seen = Keys.parse(found.content, path), found.stamp
        self._failed: keyfile.Stamp | None = found.stamp
        self._looked = clock()

    async def current(self) -> Keys:
        """The keys in force; the file is read again if it has changed since the last look."""
        if self._clock() - self._looked >= LOOK_SECONDS:
            self._looked = self._clock()  # before the wait, so that requests beside this one do not read it too
            await self._look()
        return self.keys

    async def _look(self) -> None:
        stamp = await asyncio.to_thread(keyfile.stamp, self._path)
        if stamp in (self._seen, self._failed):
            return
        try:
            found = await asyncio.to_thread(keyfile.read, self._path)
            self.keys = Keys.parse(found.content, self._path)
        except KeyFileError as error:
            self._failed = stamp
            _log.error("%s The keys that were in force stay so.", error.message)
        else:
            self._seen = self._failed = found.stamp
            _log.info("%s was read again: %d keys", self._path, len(self.keys.all))
