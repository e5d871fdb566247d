"""The input embeddings of a checkpoint, mapped from its safetensors files without loading the model."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unhitch import safetensors_header
from unhitch.errors import CheckpointError

SUFFIXES = (
    "embed_tokens.weight",
    "wte.weight",
    "word_embeddings.weight",
    "tok_embeddings.weight",
    "embed_in.weight",
)
"""How the tensor's name ends in the usual architectures, dots aside."""

_STORED: dict[str, npt.DTypeLike] = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}
_HASHED_BYTES = 1 << 24


@dataclass(frozen=True, eq=False)
class Embeddings:
    """A memory-mapped matrix [rows, width], one row a token id.

    Args:
        file: The safetensors file that holds it.
        tensor: Its name there.
        stored: As stored, [rows, width]; float32, float16, or uint16 where it is bfloat16.
    """

    file: Path
    tensor: str
    stored: npt.NDArray[Any]

    @classmethod
    def open(cls, folder: Path) -> Embeddings:
        """Maps the input embeddings of the checkpoint in a folder.

        Args:
            folder: Holds `model.safetensors`, or the files that `model.safetensors.index.json` names.

        Raises:
            CheckpointError: No safetensors files, none or several tensors that could be the input embeddings, or a
                storage type that is not float32, float16 or bfloat16.
        """
        headers = {file: _read_header(file) for file in _files(folder)}
        names = [name for _, tensors in headers.values() for name in tensors]
        tensor = _input_embeddings(folder, names)
        file = next(file for file, (_, tensors) in headers.items() if tensor in tensors)
        data_start, tensors = headers[file]
        return cls(file, tensor, _mapped(file, tensor, tensors[tensor], data_start))

    def __len__(self) -> int:
        return int(self.stored.shape[0])

    def rows(self, token_ids: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """The rows of these ids: [ids, width], float32."""
        return _as_float32(self.stored[token_ids])

    def chunks(self, row_count: int, stop: int) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
        """Blocks of successive rows up to id `stop - 1`: the first id, and [at most row_count, width], float32."""
        for start in range(0, stop, row_count):
            yield start, _as_float32(self.stored[start : min(start + row_count, stop)])

    def digest(self) -> str:
        """SHA-256 over the type, the shape and the stored bytes: 64 hexadecimal digits. Reads the whole matrix."""
        total = hashlib.sha256(f"{self.stored.dtype.str}{self.stored.shape}".encode())
        raw = self.stored.reshape(-1).view(np.uint8)
        for start in range(0, raw.size, _HASHED_BYTES):
            total.update(raw[start : start + _HASHED_BYTES].data)
        return total.hexdigest()


def _as_float32(stored: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    if stored.dtype == np.uint16:  # bfloat16 is the upper half of a float32
        return (stored.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return np.asarray(stored, dtype=np.float32)


def _files(folder: Path) -> list[Path]:
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CheckpointError(f"{index} is no index of safetensors files ({error!r}); fetch it again.") from error
        return [folder / name for name in names]
    files = sorted(folder.glob("*.safetensors"))
    if (folder / "model.safetensors") in files:
        return [folder / "model.safetensors"]
    if files:
        return files
    raise CheckpointError(
        f"{folder} holds no safetensors files, and the input embeddings are read from them. Give a checkpoint with "
        "weights."
    )


def _read_header(file: Path) -> tuple[int, dict[str, Any]]:
    """Where the data starts in a safetensors file, and type, shape and place of each tensor."""
    try:
        with file.open("rb") as stream:
            data_start, header = safetensors_header.read(stream)
            return data_start, {name: entry for name, entry in header.items() if name != "__metadata__"}
    except PermissionError as error:
        raise CheckpointError(f"{file} may not be read by this user; give it read access.") from error
    except (OSError, ValueError, AttributeError) as error:
        raise CheckpointError(f"{file} cannot be read as safetensors ({error}); fetch it again.") from error


def _input_embeddings(folder: Path, names: list[str]) -> str:
    # Layers of multi-token prediction repeat the tensor under their own names.
    outside_layers = [name for name in names if ".layers." not in name]
    found = [name for name in outside_layers if any(f".{name}".endswith(f".{suffix}") for suffix in SUFFIXES)]
    if len(found) == 1:
        return found[0]
    candidates = found or [name for name in outside_layers if "embed" in name.lower()]
    problem = "more than one tensor" if found else "no tensor"
    raise CheckpointError(
        f"{folder}: {problem} has the name of input embeddings (ending in {', '.join(SUFFIXES)}). "
        f"Candidates: {', '.join(sorted(candidates)) or 'none'}. Strategies that need neighbours cannot serve this "
        "model."
    )


def _mapped(file: Path, tensor: str, entry: dict[str, Any], data_start: int) -> npt.NDArray[Any]:
    try:
        stored, shape, offset = entry["dtype"], tuple(entry["shape"]), data_start + entry["data_offsets"][0]
        if stored not in _STORED or len(shape) != 2:
            raise CheckpointError(
                f"{file}: {tensor} is stored as {stored} of shape {list(shape)}; a matrix of {', '.join(_STORED)} is "
                "needed. Give the unquantised checkpoint."
            )
        return np.memmap(file, dtype=_STORED[stored], mode="r", offset=offset, shape=shape)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"{file}: {tensor} cannot be mapped ({error!r}); fetch it again.") from error
