from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from unhitch.errors import CheckpointError
from unhitch.neighbours.embeddings import Embeddings

MATRIX = torch.randn(50, 6, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_rows_are_read_as_float32_from_each_storage_type(tmp_path: Path, dtype: torch.dtype) -> None:
    save_file({"model.embed_tokens.weight": MATRIX.to(dtype)}, tmp_path / "model.safetensors")
    embeddings = Embeddings.open(tmp_path)
    rows = embeddings.rows(np.array([0, 49, 7]))
    assert rows.dtype == np.float32
    assert np.array_equal(rows, MATRIX.to(dtype).float().numpy()[[0, 49, 7]])


def test_chunks_cover_all_rows_up_to_the_stop(tmp_path: Path) -> None:
    save_file({"model.embed_tokens.weight": MATRIX}, tmp_path / "model.safetensors")
    chunks = list(Embeddings.open(tmp_path).chunks(8, 45))
    assert [start for start, _ in chunks] == [0, 8, 16, 24, 32, 40]
    assert np.array_equal(np.concatenate([rows for _, rows in chunks]), MATRIX.numpy()[:45])


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "transformer.wte.weight",
        "language_model.model.embed_tokens.weight",
        "gpt_neox.embed_in.weight",
        "wte.weight",
    ],
)
def test_the_usual_names_are_found(tmp_path: Path, name: str) -> None:
    others = {"lm_head.weight": torch.zeros(2, 2), "model.layers.61.embed_tokens.weight": torch.zeros(2, 2)}
    save_file({name: MATRIX} | others, tmp_path / "model.safetensors")
    assert Embeddings.open(tmp_path).tensor == name


def test_a_sharded_checkpoint_is_read_through_its_index(tmp_path: Path) -> None:
    save_file({"lm_head.weight": torch.zeros(2, 2)}, tmp_path / "model-1.safetensors")
    save_file({"model.embed_tokens.weight": MATRIX}, tmp_path / "model-2.safetensors")
    index = {"lm_head.weight": "model-1.safetensors", "model.embed_tokens.weight": "model-2.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    embeddings = Embeddings.open(tmp_path)
    assert embeddings.file.name == "model-2.safetensors"
    assert len(embeddings) == 50


@pytest.mark.parametrize(
    "names", [["a.embed_tokens.weight", "b.embed_tokens.weight"], ["my_embedding", "lm_head.weight"]]
)
def test_no_single_candidate_is_an_error_that_lists_candidates(tmp_path: Path, names: list[str]) -> None:
    save_file({name: torch.zeros(2, 2) for name in names}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=rf"Candidates: .*{names[0]}"):
        Embeddings.open(tmp_path)


def test_quantised_embeddings_are_an_error(tmp_path: Path) -> None:
    save_file({"model.embed_tokens.weight": torch.zeros(2, 2, dtype=torch.int8)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match="stored as I8"):
        Embeddings.open(tmp_path)


def test_a_folder_without_weights_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no safetensors files"):
        Embeddings.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"\xff" * 64, b"\x08\x00\x00\x00\x00\x00\x00\x00not json"])
def test_a_damaged_file_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(CheckpointError):
        Embeddings.open(tmp_path)


def test_a_file_that_was_cut_short_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    save_file({"model.embed_tokens.weight": MATRIX}, file)
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="cannot be mapped"):
        Embeddings.open(tmp_path)


def test_the_digest_depends_on_the_values(tmp_path: Path) -> None:
    digests = set()
    for number, matrix in enumerate([MATRIX, MATRIX + 1, MATRIX.reshape(25, 12), MATRIX.clone()]):
        folder = tmp_path / str(number)
        folder.mkdir()
        save_file({"wte.weight": matrix}, folder / "model.safetensors")
        digests.add(Embeddings.open(folder).digest())
    assert len(digests) == 3
