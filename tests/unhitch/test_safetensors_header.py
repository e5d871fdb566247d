import io

import pytest
import torch
from safetensors.torch import save

from unhitch import safetensors_header


def test_the_header_and_where_the_tensors_begin() -> None:
    content = save({"a": torch.ones(2, 3), "b": torch.zeros(4, dtype=torch.bfloat16)}, metadata={"k": "v"})
    start, header = safetensors_header.read(io.BytesIO(content))
    assert header["__metadata__"] == {"k": "v"}
    assert header["a"]["shape"] == [2, 3]
    assert start + header["a"]["data_offsets"][1] <= len(content)
    assert len(content) - start == 2 * 3 * 4 + 4 * 2


def sized(size: int, header: bytes) -> bytes:
    return size.to_bytes(8, "little") + header


@pytest.mark.parametrize("content", [b"", b"\0" * 8, sized(2**40, b"{}"), sized(9, b"{}"), sized(2, b"[]")])
def test_what_is_no_safetensors_file_is_said_to_be_none(content: bytes) -> None:
    with pytest.raises(ValueError, match="begin as a safetensors|no JSON object"):
        safetensors_header.read(io.BytesIO(content))
