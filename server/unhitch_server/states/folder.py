"""The states in a folder, for dry runs without an engine."""

from __future__ import annotations

from pathlib import Path

from unhitch.engine.served import Served
from unhitch.errors import CheckpointError
from unhitch.states.file import read_header
from unhitch.states.fingerprint import model_digest
from unhitch.states.shelf import Card, Shelf


def shelf_of(folder: Path, served: Served) -> Shelf:
    """What an engine that finds its states in a folder would serve to a model.

    Args:
        folder: Holds states.
        served: The first of its adapters is asked about, or the checkpoint where it has none.

    Raises:
        StateError: A file in the folder is no state.
        CheckpointError: The folder is missing, or a model's files are.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is no folder; `unhitch capture` writes states into one.")
    cards = tuple(Card(file.stem, read_header(file)) for file in sorted(folder.glob("*.safetensors")))
    base, adapter = model_digest(served.model), next(iter(served.adapters.values()), None)
    return Shelf(cards, base) if adapter is None else Shelf(cards, model_digest(adapter), base)
