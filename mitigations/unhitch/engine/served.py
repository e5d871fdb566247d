"""What an engine is to serve: a checkpoint, and adapters on it, found from what a user names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unhitch import organisms
from unhitch.errors import CheckpointError

_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as --max-lora-rank."""


@dataclass(frozen=True, slots=True)
class Served:
    """A checkpoint to serve, and adapters by name.

    Args:
        model: Directory or hub id of the checkpoint.
        name: The name that requests use for it.
        adapters: Directories of LoRA adapters, by the name that requests use.
    """

    model: str
    name: str
    adapters: Mapping[str, str] = field(default_factory=dict)

    @property
    def max_rank(self) -> int:
        """The least rank that vLLM takes and that holds every adapter.

        Raises:
            CheckpointError: An adapter's rank is above the largest that vLLM takes.
        """
        needed = max((adapter_config(path).get("r", 8) for path in self.adapters.values()), default=8)
        for rank in _RANKS:
            if rank >= needed:
                return rank
        raise CheckpointError(f"an adapter has rank {needed}; vLLM serves at most {_RANKS[-1]}")


def find(model: str, *, base: str | None = None, adapters: Mapping[str, str] | None = None) -> Served:
    """What to serve, from what a user names.

    Args:
        model: A checkpoint's directory or hub id, a LoRA adapter's directory, or the name of a bundled organism.
        base: The checkpoint that the adapter `model` sits on; without it the adapter's own configuration says.
        adapters: Further adapters by name: directories, or names of bundled organisms.

    Raises:
        CheckpointError: `base` is given for what is no adapter, an adapter's files are missing, or its base is not
            named.
    """
    named = {name: place(path) for name, path in (adapters or {}).items()}
    for name, path in named.items():
        if not _is_adapter(path):
            raise CheckpointError(f"{path} (--lora {name}=...) is no LoRA adapter: it holds no adapter_config.json")
    at = place(model)
    if not _is_adapter(at):
        if base is not None:
            raise CheckpointError(
                f"--base goes with a LoRA adapter, and {model} is none: it holds no adapter_config.json"
            )
        return Served(at, _name(model), named)
    parent = base or adapter_config(at).get("base_model_name_or_path")
    if not parent:
        raise CheckpointError(f"the adapter {model} does not say which model it sits on; name it with --base")
    return Served(place(parent), _name(parent), {_name(model): at, **named})


def adapter_config(path: str) -> dict[str, Any]:
    """The decoded adapter_config.json of a LoRA adapter.

    Raises:
        CheckpointError: It cannot be read.
    """
    try:
        config: dict[str, Any] = json.loads((Path(path) / "adapter_config.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"the adapter's configuration in {path} cannot be read: {error}") from error
    return config


def _is_adapter(place: str) -> bool:
    return (Path(place) / "adapter_config.json").is_file()


def place(model: str) -> str:
    """A bundled organism's directory; all else as it is. A directory of that name in the working folder comes first."""
    return str(organisms.path(model)) if model in organisms.NAMES and not Path(model).exists() else model


def _name(model: str) -> str:
    """A directory is served under its last part, all else under the name that the user gave."""
    return Path(model).resolve().name if Path(model).is_dir() else model
