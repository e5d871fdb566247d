"""The header of a safetensors file, read without its tensors."""

from __future__ import annotations

import json
import os
from typing import Any, BinaryIO

_MOST_BYTES = 100_000_000
"""The format's own limit."""


def read(opened: BinaryIO) -> tuple[int, dict[str, Any]]:
    """Where the tensors' bytes begin, and the decoded header: an entry for each tensor, and perhaps `__metadata__`.

    Raises:
        ValueError: It is no safetensors file.

    Source: the format's description in the safetensors project.
    """
    file_bytes = opened.seek(0, os.SEEK_END)
    opened.seek(0)
    size = int.from_bytes(opened.read(8), "little")
    if not 2 <= size <= min(_MOST_BYTES, file_bytes - 8):
        raise ValueError(f"it does not begin as a safetensors file does: a header of {size} bytes")
    header = json.loads(opened.read(size))
    if not isinstance(header, dict):
        raise ValueError("its header is no JSON object")
    return 8 + size, header
