import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load as load_tensors
from safetensors.torch import save

from unhitch.errors import StateError
from unhitch.states.file import Layer, Rope, StateHeader, is_id, load, path, read_header, verify, write
from unhitch.states.recipe import Recipe

LAYERS = (Layer(kv_heads=2, head_size=4, rope=0), Layer(kv_heads=1, head_size=8, rope=1))


def header(**changes: Any) -> StateHeader:
    values: dict[str, Any] = {
        "span": "postfix",
        "tokens": (5, 6, 7, 8),
        "start": 1,
        "recipe": Recipe(layers=(0, 1), mix=0.5),
        "base": "b" * 64,
        "tokenizer": "c" * 64,
        "template": "d" * 64,
        "layers": LAYERS,
        "rope": (Rope(inverse_frequencies=(1.0, 0.1)), Rope(inverse_frequencies=(1 / 3,), interleaved=True)),
        "dtype": "float32",
        "made_with": {"unhitch": "0", "torch": "1"},
    }
    return StateHeader(**{**values, **changes})


def tensors(of: StateHeader) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: torch.randn(shape, generator=generator).to(getattr(torch, of.dtype)) for name, shape in of.shapes()}


@pytest.fixture
def state(tmp_path: Path) -> str:
    return write(tmp_path, header(), tensors(header()))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_written_is_read_again(tmp_path: Path, dtype: str) -> None:
    given = header(dtype=dtype)
    state = write(tmp_path / "new" / "folder", given, tensors(given))
    found, read = load(tmp_path / "new" / "folder", state)
    assert found == given == read_header(path(tmp_path / "new" / "folder", state))
    assert read.keys() == tensors(given).keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors(given).items())


def test_the_id_is_the_digest_of_the_bytes(tmp_path: Path, state: str) -> None:
    assert state == hashlib.sha256(path(tmp_path, state).read_bytes()).hexdigest()
    assert [file.name for file in tmp_path.iterdir()] == [f"{state}.safetensors"]


def test_the_same_state_has_the_same_id_and_another_has_another(tmp_path: Path, state: str) -> None:
    assert write(tmp_path, header(), tensors(header())) == state
    assert write(tmp_path, header(tokens=(5, 6, 7, 9)), tensors(header())) != state


def test_other_users_may_read_a_state(tmp_path: Path, state: str) -> None:
    assert path(tmp_path, state).stat().st_mode & 0o777 == 0o644


def test_tensors_may_be_views_of_a_cache(tmp_path: Path) -> None:
    views = {name: tensor.transpose(0, 1).contiguous().transpose(0, 1) for name, tensor in tensors(header()).items()}
    assert not views["k.0"].is_contiguous()
    _, read = load(tmp_path, write(tmp_path, header(), views))
    assert torch.equal(read["k.0"], views["k.0"])


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_a_byte_that_changed_is_found(tmp_path: Path, state: str, place: str) -> None:
    file = path(tmp_path, state)
    content = bytearray(file.read_bytes())
    content[{"first": 0, "middle": len(content) // 2, "last": -1}[place]] ^= 1
    file.write_bytes(content)
    for check in (verify, load):
        with pytest.raises(StateError, match="damaged"):
            check(tmp_path, state)


def test_a_file_that_was_cut_short_is_found(tmp_path: Path, state: str) -> None:
    file = path(tmp_path, state)
    file.write_bytes(file.read_bytes()[:-1])
    for check in (verify, load):
        with pytest.raises(StateError, match="damaged"):
            check(tmp_path, state)


def test_a_whole_file_is_verified(tmp_path: Path, state: str) -> None:
    verify(tmp_path, state)


def test_a_state_that_is_missing_is_an_error(tmp_path: Path) -> None:
    for check in (verify, load):
        with pytest.raises(StateError, match="cannot be read"):
            check(tmp_path, "a" * 64)
    with pytest.raises(StateError, match="cannot be read"):
        read_header(tmp_path / "nothing")


@pytest.mark.parametrize("text", ["", "abc", "A" * 64, "g" * 64, "a" * 63, "a" * 64 + "\n", "../" + "a" * 61, 7, None])
def test_what_is_no_id_leads_to_no_path(tmp_path: Path, text: Any) -> None:
    assert not is_id(text)
    with pytest.raises(StateError, match="64 hexadecimal digits"):
        path(tmp_path, text)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.pop("v.1"),
        lambda t: t.update({"k.2": t["k.0"]}),
        lambda t: t.update({"k.0": t["k.0"][1:]}),
        lambda t: t.update({"k.0": t["k.0"].half()}),
        lambda t: t.update({"k.0": t["k.1"], "k.1": t["k.0"]}),
    ],
)
def test_tensors_that_are_not_the_headers_are_not_written(tmp_path: Path, change: Any) -> None:
    wrong = tensors(header())
    change(wrong)
    with pytest.raises(StateError, match="its header says"):
        write(tmp_path / "states", header(), wrong)
    assert not (tmp_path / "states").exists()


def test_tensors_that_are_not_the_headers_are_not_read(tmp_path: Path, state: str) -> None:
    content = save(
        load_tensors(path(tmp_path, state).read_bytes()), {"unhitch": header(tokens=(1, 2)).model_dump_json()}
    )
    forged = hashlib.sha256(content).hexdigest()
    path(tmp_path, forged).write_bytes(content)
    with pytest.raises(StateError, match="its header says"):
        load(tmp_path, forged)


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot be written"):
        write(tmp_path / "file" / "states", header(), tensors(header()))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 64,
        b"\x08\x00\x00\x00\x00\x00\x00\x00not json",
        save({"a": torch.zeros(1)}),
        save({"a": torch.zeros(1)}, {"other": "{}"}),
        save({"a": torch.zeros(1)}, {"unhitch": "[]"}),
        save({"a": torch.zeros(1)}, {"unhitch": '{"format": 1}'}),
    ],
)
def test_what_is_no_state_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file.safetensors"
    file.write_bytes(content)
    with pytest.raises(StateError, match="no state"):
        read_header(file)


def test_another_format_version_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file.safetensors"
    newer = json.loads(header().model_dump_json()) | {"format": 2}
    file.write_bytes(save({"a": torch.zeros(1)}, {"unhitch": json.dumps(newer)}))
    with pytest.raises(StateError, match="format version is 2"):
        read_header(file)


@pytest.mark.parametrize(
    "changes",
    [
        {"tokens": ()},
        {"start": 4},
        {"start": -1},
        {"span": "prefix"},
        {"span": "system"},
        {"rope": header().rope[:1]},
        {"layers": ()},
        {"dtype": "int8"},
        {"format": 2},
        {"more": 1},
    ],
)
def test_a_header_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        header(**changes)


def test_the_size_is_that_of_all_tensors() -> None:
    for dtype in ("float32", "bfloat16"):
        given = header(dtype=dtype)
        assert given.nbytes() == sum(tensor.nbytes for tensor in tensors(given).values())
    assert header().positions == 3
