"""The identity of a model that is served: digests of its files, whatever it is called and wherever they lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from unhitch.errors import CheckpointError
from unhitch.evidence.identity import ModelIdentity
from unhitch.rendering.checkpoint import Checkpoint, folder
from unhitch.states.fingerprint import model_digest, tokenizer_digest

Stamp = tuple[tuple[str, int, int, int], ...]

_READ = ("*.safetensors", "config.json", "adapter_config.json", "tokenizer.json")


@dataclass(frozen=True, slots=True)
class Identified:
    """What was found out about a model's files.

    Args:
        identity: What identifies it; None where its files cannot be read.
        reason: Why they cannot; empty where they can.
        stamp: Names, times and sizes of the files, which tell cheaply that they are as they were; None where that
            cannot be told.
    """

    identity: ModelIdentity | None
    reason: str
    stamp: Stamp | None


def identified(
    checkpoint: Checkpoint,
    root: str | Path,
    base_root: str | Path | None = None,
    earlier: Identified | None = None,
) -> Identified:
    """The same as `identify`, without errors, and without reading files again that are as they were.

    Args:
        checkpoint: As for `identify`.
        root: As for `identify`.
        base_root: As for `identify`.
        earlier: What was found out of the same places and the same template before.
    """
    places = [root, checkpoint.path, *([] if base_root is None else [base_root])]
    try:
        stamp = tuple(_stamp(file) for place in places for glob in _READ for file in sorted(folder(place).glob(glob)))
    except (CheckpointError, OSError):
        stamp = None
    if earlier is not None and stamp is not None and stamp == earlier.stamp:
        return earlier
    try:
        return Identified(identify(checkpoint, root, base_root), "", stamp)
    except CheckpointError as error:
        return Identified(None, error.message, stamp)


def identify(checkpoint: Checkpoint, root: str | Path, base_root: str | Path | None = None) -> ModelIdentity:
    """What identifies a served model. Reads the edges of its tensors: milliseconds, but from disk.

    Args:
        checkpoint: Its tokenizer, and the chat template that the engine renders with; an adapter has those of its base.
        root: Where its own weights lie: a folder, or a name in the local Hugging Face cache.
        base_root: The same of what it sits on, where it is an adapter.

    Raises:
        CheckpointError: A configuration, the safetensors files or the tokenizer are missing or damaged.
    """
    return ModelIdentity(
        weights=model_digest(root),
        base=None if base_root is None else model_digest(base_root),
        tokenizer=tokenizer_digest(checkpoint.path),
        template=checkpoint.template_digest.hex(),
    )


def _stamp(file: Path) -> tuple[str, int, int, int]:
    status = file.stat()
    return str(file), status.st_mtime_ns, status.st_size, status.st_ino
