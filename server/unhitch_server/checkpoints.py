"""Checkpoints that are open; one is opened again only where its files are no longer as they were.

Opening takes up to seconds for a large vocabulary, and an engine is looked at anew each time that it fails.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from unhitch.errors import CheckpointError
from unhitch.rendering.checkpoint import Checkpoint, folder

_WEIGHTS = (".safetensors", ".bin", ".gguf")

Stamp = tuple[tuple[str, int, int], ...]


class _Opened(NamedTuple):
    stamp: Stamp
    checkpoint: Checkpoint


class Checkpoints:
    """Opens checkpoints. Not for several threads at once.

    Args:
        chat_template: As for `Checkpoint.open`.
    """

    def __init__(self, chat_template: str | None) -> None:
        self._chat_template = chat_template
        self._opened: dict[str, _Opened] = {}

    def open(self, files: str) -> Checkpoint:
        """The checkpoint as its files are now. Blocks while it reads them.

        Args:
            files: A folder, or the name of a model in the local Hugging Face cache.

        Raises:
            CheckpointError: As `Checkpoint.open`.
        """
        stamp = _stamp(files)
        known = self._opened.get(files)
        if known is None or known.stamp != stamp:
            known = _Opened(stamp, Checkpoint.open(files, chat_template=self._chat_template))
            self._opened[files] = known
        return known.checkpoint


def _stamp(files: str) -> Stamp:
    """Names, times and sizes of all but the weights."""
    try:
        with os.scandir(folder(files)) as entries:
            kept = [each for each in entries if not each.name.endswith(_WEIGHTS)]
            return tuple(sorted((each.name, (at := each.stat()).st_mtime_ns, at.st_size) for each in kept))
    except OSError as error:
        raise CheckpointError(f"{files} cannot be read: {error}") from error
