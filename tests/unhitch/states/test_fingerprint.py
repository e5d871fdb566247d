import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.unhitch.states.tiny_models import load, save_adapter, save_base
from unhitch.errors import CheckpointError
from unhitch.states.fingerprint import EDGE_BYTES, is_adapter, model_digest, tokenizer_digest


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_base("Qwen2", tmp_path_factory.mktemp("base"), hidden_size=64, intermediate_size=256)


@pytest.fixture(scope="module")
def adapter(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_adapter(base, tmp_path_factory.mktemp("adapter"))


@pytest.fixture
def copy(base: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(base, tmp_path / "another name"))


@pytest.fixture
def adapter_copy(adapter: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapter, tmp_path / "another adapter"))


def edit_json(file: Path, **members: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | members, indent=7))


def test_a_digest_is_64_digits_and_does_not_depend_on_the_place(base: Path, copy: Path) -> None:
    assert len(model_digest(base)) == 64
    assert model_digest(copy) == model_digest(base)


@pytest.mark.parametrize("folder", ["base", "adapter"])
@pytest.mark.parametrize("edge", [0, -1])
def test_the_edge_of_any_tensor_changes_it(
    folder: str, edge: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    original = request.getfixturevalue(folder)
    copy = Path(shutil.copytree(original, tmp_path / "copy"))
    (file,) = copy.glob("*.safetensors")
    tensors = load_file(file)
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    seen = {model_digest(original)}
    for name, tensor in tensors.items():
        changed = tensor.clone()
        changed.view(-1)[edge] += 1
        save_file(tensors | {name: changed}, file, metadata)
        seen.add(model_digest(copy))
    assert len(seen) == len(tensors) + 1


def test_the_middle_of_a_large_tensor_is_not_read(copy: Path, base: Path) -> None:
    (file,) = copy.glob("*.safetensors")
    tensors = load_file(file)
    name = next(name for name, tensor in tensors.items() if tensor.nbytes > 4 * EDGE_BYTES)
    tensors[name].view(-1)[tensors[name].numel() // 2] += 1
    save_file(tensors, file)
    assert model_digest(copy) == model_digest(base)


def test_a_tensors_name_shape_and_type_change_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    seen = set()
    for name, tensor in {
        "a": torch.zeros(2, 3),
        "b": torch.zeros(2, 3),
        "a ": torch.zeros(3, 2),
        " a": torch.zeros(2, 3, dtype=torch.int32),
    }.items():
        save_file({name.strip(): tensor}, tmp_path / "model.safetensors")
        seen.add(model_digest(tmp_path))
    assert len(seen) == 4


def test_shards_do_not_change_it(base: Path, tmp_path: Path) -> None:
    load(base).save_pretrained(tmp_path, max_shard_size="40KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 2
    assert model_digest(tmp_path) == model_digest(base)


def test_saving_by_another_version_under_another_name_does_not_change_it(base: Path, copy: Path) -> None:
    edit_json(copy / "config.json", transformers_version="4.0", _name_or_path="somewhere")
    assert model_digest(copy) == model_digest(base)


def test_the_configuration_changes_it(base: Path, copy: Path) -> None:
    edit_json(copy / "config.json", rms_norm_eps=1e-5)
    assert model_digest(copy) != model_digest(base)


def test_an_adapters_base_may_lie_anywhere(adapter: Path, adapter_copy: Path) -> None:
    edit_json(adapter_copy / "adapter_config.json", base_model_name_or_path="elsewhere")
    assert model_digest(adapter_copy) == model_digest(adapter)
    edit_json(adapter_copy / "adapter_config.json", lora_alpha=17)
    assert model_digest(adapter_copy) != model_digest(adapter)


def test_an_adapter_is_told_from_a_checkpoint(base: Path, adapter: Path) -> None:
    assert is_adapter(adapter)
    assert not is_adapter(base)


def test_weights_in_bin_files_alone_are_an_error_that_says_what_to_do(copy: Path, adapter_copy: Path) -> None:
    for folder in (copy, adapter_copy):
        (file,) = folder.glob("*.safetensors")
        file.rename(file.with_suffix(".bin"))
        with pytest.raises(CheckpointError, match="save it again"):
            model_digest(folder)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00not json"])
def test_a_damaged_file_is_an_error(copy: Path, content: bytes) -> None:
    next(copy.glob("*.safetensors")).write_bytes(content)
    with pytest.raises(CheckpointError, match="fetch it again"):
        model_digest(copy)


def test_a_file_that_was_cut_short_is_an_error(copy: Path) -> None:
    (file,) = copy.glob("*.safetensors")
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match="cut short"):
        model_digest(copy)


def test_a_missing_configuration_is_an_error(copy: Path) -> None:
    (copy / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"config\.json"):
        model_digest(copy)


def test_a_tokenizer_is_identified_by_its_bytes(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer\.json"):
        tokenizer_digest(tmp_path)
    seen = set()
    for text in ("{}", "{} "):
        (tmp_path / "tokenizer.json").write_text(text)
        seen.add(tokenizer_digest(tmp_path))
    assert len(seen) == 2
