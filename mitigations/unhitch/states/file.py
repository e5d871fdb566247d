"""State files: safetensors named by the SHA-256 of their bytes, with a documented header.

`<digest>.safetensors` holds for every layer `i` the tensors `k.i` and `v.i`, `[positions, kv heads, head size]`, keys
after RoPE. The metadata has one entry, `unhitch`: a `StateHeader` as JSON. A file is never changed: another content is
another file.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from unhitch import safetensors_header
from unhitch.errors import StateError
from unhitch.states.recipe import Recipe

if TYPE_CHECKING:
    import torch

FORMAT = 1
KEY = "unhitch"
_ID = re.compile(r"[0-9a-f]{64}")
_CHUNK = 2**20

SpanName = Literal["prefix", "query", "postfix"]
DtypeName = Literal["float32", "bfloat16", "float16"]
Digest = str


class Rope(BaseModel):
    """The rotary embedding of a layer's keys.

    Args:
        inverse_frequencies: Radians a position, `[rotated dimensions / 2]`.
        interleaved: Whether pairs stand side by side (GPT-J's way) instead of half a head apart (NeoX's way).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inverse_frequencies: tuple[float, ...]
    interleaved: bool = False


class Layer(BaseModel):
    """Shape of one layer's tensors.

    Args:
        kv_heads: All of the model's, however many devices share them.
        head_size: Of keys and of values.
        rope: Which of the header's rotary embeddings its keys have.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kv_heads: int = Field(gt=0)
    head_size: int = Field(gt=0)
    rope: int = Field(ge=0)


class StateHeader(BaseModel):
    """What a state is, of what, and how it was made. All digests are SHA-256 in hexadecimal.

    Args:
        format: Version of this format.
        span: What the positions are to the prompt that they were taken from.
        tokens: Token ids from position 0 to the end of the span.
        start: Position of the first stored token; 0 for a prefix.
        recipe: The intervention.
        base: Digest of the unfinetuned model (`unhitch.states.fingerprint`).
        finetuned: Digest of the finetuned model that the state is for; None serves every adapter on the base.
        tokenizer: Digest of the tokenizer.
        template: Digest of the chat template.
        layers: Shapes, layer by layer.
        rope: The rotary embeddings that layers name.
        dtype: Of all tensors.
        made_with: Names and versions of what made it.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal[1] = 1
    span: SpanName
    tokens: tuple[int, ...] = Field(min_length=1)
    start: int = Field(ge=0)
    recipe: Recipe = Recipe()
    base: Digest
    finetuned: Digest | None = None
    tokenizer: Digest
    template: Digest
    layers: tuple[Layer, ...] = Field(min_length=1)
    rope: tuple[Rope, ...] = Field(min_length=1)
    dtype: DtypeName
    made_with: Mapping[str, str] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> StateHeader:
        if self.start >= len(self.tokens):
            raise ValueError(f"start {self.start} leaves none of {len(self.tokens)} tokens")
        if self.span == "prefix" and self.start:
            raise ValueError("a prefix begins at position 0")
        if any(layer.rope >= len(self.rope) for layer in self.layers):
            raise ValueError("a layer names a rotary embedding that is not there")
        return self

    @property
    def positions(self) -> int:
        """How many positions are stored."""
        return len(self.tokens) - self.start

    def shapes(self) -> Iterator[tuple[str, tuple[int, int, int]]]:
        """Name and shape of every tensor that the file must hold."""
        for index, layer in enumerate(self.layers):
            for part in "kv":
                yield f"{part}.{index}", (self.positions, layer.kv_heads, layer.head_size)

    def nbytes(self) -> int:
        """Bytes of all tensors."""
        width = 4 if self.dtype == "float32" else 2
        return sum(2 * self.positions * layer.kv_heads * layer.head_size * width for layer in self.layers)


def is_id(text: object) -> bool:
    """Whether it is the id of a state: 64 hexadecimal digits."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def path(folder: Path, state_id: str) -> Path:
    """Where a state lies.

    Raises:
        StateError: `state_id` is none.
    """
    if not is_id(state_id):
        raise StateError(f"{state_id!r} is no id of a state: 64 hexadecimal digits are needed.")
    return folder / f"{state_id}.safetensors"


def write(folder: Path, header: StateHeader, tensors: Mapping[str, torch.Tensor]) -> str:
    """Writes a state and gives its id; what was there under that id is the same.

    Args:
        folder: Made if missing.
        header: Describes `tensors`.
        tensors: See the module; of `header.dtype`.

    Raises:
        StateError: The tensors are not those that the header describes, or the folder cannot be written.
    """
    from safetensors.torch import save

    _check_tensors(header, tensors)
    content = save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()},
        metadata={KEY: header.model_dump_json()},  # a single entry: safetensors writes several in any order
    )
    state_id = hashlib.sha256(content).hexdigest()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".unfinished-", delete=False) as file:
            try:
                file.write(content)
                file.flush()
                os.chmod(file.name, 0o644)  # another user's engine may read it
                os.replace(file.name, path(folder, state_id))
            except OSError:
                os.unlink(file.name)
                raise
    except OSError as error:
        raise StateError(f"the state cannot be written to {folder}: {error}") from error
    return state_id


def read_header(file: Path) -> StateHeader:
    """The header of a state file; the tensors are not read.

    Raises:
        StateError: The file is missing, damaged, no state, or of another format version.
    """
    try:
        with file.open("rb") as opened:
            return _header(opened, file.name)
    except OSError as error:
        raise StateError(f"the state {file.stem} cannot be read: {error.strerror or error}") from error


def load(folder: Path, state_id: str) -> tuple[StateHeader, dict[str, torch.Tensor]]:
    """Header and tensors of a state, on the CPU, once its bytes were found to be those that its id names.

    Raises:
        StateError: The file is missing, or its content is not what its name says.
    """
    from safetensors.torch import load as load_tensors

    file = path(folder, state_id)
    try:
        content = file.read_bytes()
    except OSError as error:
        raise StateError(f"the state {state_id} cannot be read: {error.strerror or error}") from error
    if (found := hashlib.sha256(content).hexdigest()) != state_id:
        raise StateError(f"the state {state_id} is damaged: its content has the digest {found}. Make it again.")
    header = _header(io.BytesIO(content), file.name)
    tensors = load_tensors(content)
    _check_tensors(header, tensors)
    return header, tensors


def verify(folder: Path, state_id: str) -> None:
    """Sees that a state's bytes are those that its id names, without holding them in memory.

    Raises:
        StateError: They are not, or the file is missing.
    """
    digest = hashlib.sha256()
    try:
        with path(folder, state_id).open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise StateError(f"the state {state_id} cannot be read: {error.strerror or error}") from error
    if digest.hexdigest() != state_id:
        raise StateError(f"the state {state_id} is damaged: its content has the digest {digest.hexdigest()}.")


def _header(opened: BinaryIO, name: str) -> StateHeader:
    try:
        _, fields = safetensors_header.read(opened)
        text = fields["__metadata__"][KEY]
        version = json.loads(text).get("format")
        if version != FORMAT:
            raise ValueError(f"its format version is {version!r}, and this version of unhitch reads {FORMAT}")
        return StateHeader.model_validate_json(text)
    except ValidationError as error:
        raise StateError(f"{name} is no state: {error.errors()[0]['msg']}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateError(f"{name} is no state: {error}") from error


def dtype_name(tensor: torch.Tensor) -> DtypeName:
    """The header's name for a tensor's type.

    Raises:
        StateError: States are not kept in it.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    for allowed in get_args(DtypeName):
        if name == allowed:
            return cast("DtypeName", allowed)
    raise StateError(f"a state cannot be kept in {name}; {', '.join(get_args(DtypeName))} can")


def _check_tensors(header: StateHeader, tensors: Mapping[str, torch.Tensor]) -> None:
    found = {name: (tuple(tensor.shape), dtype_name(tensor)) for name, tensor in tensors.items()}
    expected = {name: (shape, header.dtype) for name, shape in header.shapes()}
    if found != expected:
        name = next(name for name in (*expected, *found) if found.get(name) != expected.get(name))
        raise StateError(f"tensor {name} of the state is {found.get(name)}, and its header says {expected.get(name)}")
