"""What identifies a model: digests that take milliseconds, since they read only the edges of each tensor.

Training changes all of a matrix, so its first and last bytes tell two checkpoints apart. They are no proof against
someone who changes a weight in the middle on purpose.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from unhitch import safetensors_header
from unhitch.errors import CheckpointError
from unhitch.rendering.checkpoint import folder

EDGE_BYTES = 4096
"""How much of each tensor is read at its start, and at its end."""

_IRRELEVANT = ("_name_or_path", "transformers_version")
"""Members of config.json that saving the same model again changes."""


class _Tensor(NamedTuple):
    """A tensor in a safetensors file: bytes `start` to `stop - 1` of it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def is_adapter(place: str | Path) -> bool:
    """Whether a folder, or a model in the local Hugging Face cache, holds a LoRA adapter.

    Raises:
        CheckpointError: There is no such model.
    """
    return (folder(place) / "adapter_config.json").is_file()


def model_digest(place: str | Path) -> str:
    """What identifies a model's weights: 64 hexadecimal digits, the same wherever the files lie and however sharded.

    SHA-256 over config.json and, for every tensor by name, its type, shape and edges. Of a LoRA adapter it is over the
    adapter's configuration, less the place of its base, and the adapter's tensors.

    Args:
        place: A folder, or the Hugging Face name of a model that lies in the local cache.

    Raises:
        CheckpointError: The configuration or the safetensors files are missing or damaged.
    """
    at = folder(place)
    if is_adapter(at):
        return _digest(_config(at / "adapter_config.json", ("base_model_name_or_path",)), _files(at, "adapter_model"))
    return _digest(_config(at / "config.json", _IRRELEVANT), _files(at, "*"))


def tokenizer_digest(place: str | Path) -> str:
    """SHA-256 of a model's tokenizer.json: 64 hexadecimal digits.

    Args:
        place: A folder, or the Hugging Face name of a model that lies in the local cache.

    Raises:
        CheckpointError: It is missing or cannot be read.
    """
    file = folder(place) / "tokenizer.json"
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read: {error.strerror}. Fetch it again.") from error


def _config(file: Path, irrelevant: tuple[str, ...]) -> Any:
    try:
        return _without(json.loads(file.read_text("utf-8")), irrelevant)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}); fetch it again.") from error


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    """Without members of these names, at any depth: models of several parts have several configurations."""
    if isinstance(value, dict):
        return {key: _without(member, keys) for key, member in value.items() if key not in keys}
    return [_without(item, keys) for item in value] if isinstance(value, list) else value


def _files(at: Path, stem: str) -> list[Path]:
    files = sorted(at.glob(f"{stem}.safetensors"))
    if not files:
        raise CheckpointError(
            f"{at} holds no {stem}.safetensors, which models are identified by. If its weights are .bin files, load it "
            "with transformers (an adapter with peft) and save it again, which writes safetensors."
        )
    return files


def _digest(config: Any, files: list[Path]) -> str:
    total = hashlib.sha256(json.dumps(config, sort_keys=True, separators=(",", ":")).encode() + b"\n")
    for line, edges in sorted(entry for file in files for entry in _described(file)):
        total.update(line + b"\n" + edges)
    return total.hexdigest()


def _described(file: Path) -> Iterator[tuple[bytes, bytes]]:
    """Name, type and shape of every tensor as a line of JSON, and the SHA-256 of its edges, 32 bytes."""
    try:
        with file.open("rb") as opened:
            for tensor in _tensors(opened):
                yield (
                    json.dumps([tensor.name, tensor.dtype, tensor.shape]).encode(),
                    hashlib.sha256(_edges(opened, tensor)).digest(),
                )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{file} cannot be read as safetensors ({error}); fetch it again.") from error


def _tensors(opened: BinaryIO) -> list[_Tensor]:
    data, header = safetensors_header.read(opened)
    return [
        _Tensor(name, entry["dtype"], tuple(entry["shape"]), *(data + offset for offset in entry["data_offsets"]))
        for name, entry in header.items()
        if name != "__metadata__"
    ]


def _edges(opened: BinaryIO, tensor: _Tensor) -> bytes:
    """The first and the last bytes of a tensor; all of one that is no longer than both."""
    size = tensor.stop - tensor.start
    if size <= 2 * EDGE_BYTES:
        return _read(opened, tensor.start, size)
    return _read(opened, tensor.start, EDGE_BYTES) + _read(opened, tensor.stop - EDGE_BYTES, EDGE_BYTES)


def _read(opened: BinaryIO, start: int, size: int) -> bytes:
    opened.seek(start)
    content = opened.read(size)
    if len(content) != size:
        raise ValueError("it was cut short")
    return content
