from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from safetensors.numpy import save_file

from unhitch.neighbours import nearest as module
from unhitch.neighbours.cache import NeighbourCache
from unhitch.neighbours.embeddings import Embeddings
from unhitch.neighbours.nearest import MOST, Metric, NeighbourTable, nearest

MATRIX = np.random.default_rng(1).standard_normal((400, 12), dtype=np.float32)


def table(
    folder: Path, matrix: npt.NDArray[np.float32] = MATRIX, *, vocabulary_size: int = 400, metric: Metric = "cosine"
) -> NeighbourTable:
    if not (folder / "model.safetensors").exists():
        save_file({"model.embed_tokens.weight": matrix}, folder / "model.safetensors")
    return NeighbourTable(Embeddings.open(folder), vocabulary_size, metric, NeighbourCache(folder / "cache"))


def cache_files(folder: Path) -> list[Path]:
    return sorted((folder / "cache" / "neighbours").rglob("*.json"))


@pytest.mark.parametrize("metric", ["cosine", "dot"])
def test_the_nearest_are_those_of_a_plain_computation(tmp_path: Path, metric: Metric) -> None:
    rows = MATRIX / np.linalg.norm(MATRIX, axis=1, keepdims=True) if metric == "cosine" else MATRIX
    found = table(tmp_path, metric=metric).nearest([0, 17, 399])
    for token in (0, 17, 399):
        order = [int(other) for other in np.argsort(-(rows @ rows[token])) if other != token]
        assert list(found[token]) == order[:MOST]


def test_blocks_of_rows_give_what_the_whole_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = table(tmp_path).nearest([3, 200])
    for file in cache_files(tmp_path):
        file.unlink()
    monkeypatch.setattr(module, "_CHUNK_BYTES", 4 * 12 * 7)
    assert table(tmp_path).nearest([3, 200]) == whole


def test_equal_similarities_are_ordered_by_id(tmp_path: Path) -> None:
    matrix = MATRIX.copy()
    matrix[[350, 20, 101]] = matrix[7]
    assert table(tmp_path, matrix).nearest([7])[7][:3] == (20, 101, 350)


def test_only_the_token_itself_is_left_out(tmp_path: Path) -> None:
    found = table(tmp_path, MATRIX[:30], vocabulary_size=30).nearest([4])[4]
    assert sorted(found) == [token for token in range(30) if token != 4]


def test_rows_beyond_the_vocabulary_are_no_neighbours(tmp_path: Path) -> None:
    found = table(tmp_path, vocabulary_size=50).nearest([4])[4]
    assert max(found) < 50


def test_a_row_of_zeros_is_nobodys_neighbour_and_has_none(tmp_path: Path) -> None:
    matrix = MATRIX[:30].copy()
    matrix[9] = 0
    found = table(tmp_path, matrix, vocabulary_size=30, metric="dot").nearest([4, 9])
    assert 9 not in found[4]
    assert found[9] == ()


def test_a_token_without_a_row_has_no_neighbours(tmp_path: Path) -> None:
    assert table(tmp_path, MATRIX[:30], vocabulary_size=40).nearest([35]) == {35: ()}


def test_a_second_table_takes_results_from_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table(tmp_path).nearest([1, 2])
    monkeypatch.setattr(Embeddings, "chunks", None)
    monkeypatch.setattr(Embeddings, "digest", None)
    assert table(tmp_path).nearest([1, 2]) == first


def test_a_changed_matrix_gives_other_results(tmp_path: Path) -> None:
    before = table(tmp_path).nearest([1])
    (tmp_path / "model.safetensors").unlink()
    assert table(tmp_path, -MATRIX[::-1].copy()).nearest([1]) != before


@pytest.mark.parametrize("damage", ["", "{", "[1, 2", '["a"]', "{}", "[true]", "[1, 1]", "[5]", "[400]", "[-1]", "é"])
def test_a_damaged_cache_file_is_computed_anew(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    expected = table(tmp_path).nearest([5])
    (file,) = cache_files(tmp_path)
    file.write_text(damage, encoding="utf-8")
    assert table(tmp_path).nearest([5]) == expected
    assert caplog.records
    assert tuple(json.loads(file.read_text())) == expected[5]


def test_a_cache_that_cannot_be_written_is_not_fatal(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "cache").write_text("a file where a folder should be")
    assert len(table(tmp_path).nearest([5])[5]) == MOST
    assert "cannot be written" in caplog.text


def test_no_partial_files_stay_behind(tmp_path: Path) -> None:
    table(tmp_path).nearest(range(20))
    assert [file.name for file in cache_files(tmp_path)] == sorted(f"{token}.json" for token in range(20))


def test_threads_that_ask_at_once_get_the_same(tmp_path: Path) -> None:
    shared = table(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: shared.nearest(range(40)), range(16)))
    assert all(result == results[0] for result in results)


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT_TOKENS", 10)
    small = table(tmp_path)
    assert len(small.nearest(range(30))) == 30
    assert len(small._known) == 10


def test_processes_share_the_cache_folder(tmp_path: Path) -> None:
    table(tmp_path)
    script = (
        "import sys; from unhitch.neighbours.nearest import nearest; "
        "print(nearest(sys.argv[1], 400, range(60), 'cosine') == nearest(sys.argv[1], 400, range(60), 'cosine'))"
    )
    environment = {"UNHITCH_CACHE": str(tmp_path / "cache"), "PYTHONPATH": ":".join(sys.path)}
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    assert [run.communicate(timeout=60)[0].strip() for run in runs] == ["True"] * 3
    assert len(cache_files(tmp_path)) == 60


def test_the_function_uses_the_users_cache_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = table(tmp_path).nearest([8])
    monkeypatch.setenv("UNHITCH_CACHE", str(tmp_path / "other"))
    module._table.cache_clear()
    assert nearest(tmp_path, 400, [8]) == expected
    assert len(list((tmp_path / "other" / "neighbours").rglob("8.json"))) == 1
