from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from unhitch.neighbours.cache import NeighbourCache, cache_folder
from unhitch.neighbours.embeddings import Embeddings


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"UNHITCH_CACHE": "/a", "XDG_CACHE_HOME": "/b"}, "/a"),
        ({"XDG_CACHE_HOME": "/b"}, "/b/unhitch"),
        ({"HOME": "/c"}, "/c/.cache/unhitch"),
    ],
)
def test_the_cache_folder_follows_the_environment(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("UNHITCH_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert str(cache_folder()) == folder


def test_what_was_written_is_read(tmp_path: Path) -> None:
    NeighbourCache(tmp_path).write("key", 3, (5, 1))
    assert NeighbourCache(tmp_path).read("key", 3) == (5, 1)


@pytest.mark.parametrize(("key", "token"), [("other", 3), ("key", 4)])
def test_another_key_or_token_is_not_there(tmp_path: Path, key: str, token: int) -> None:
    NeighbourCache(tmp_path).write("key", 3, (5, 1))
    assert NeighbourCache(tmp_path).read(key, token) is None


def test_a_digest_is_remembered_until_the_file_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, cache = tmp_path / "model.safetensors", NeighbourCache(tmp_path / "cache")
    save_file({"wte.weight": np.zeros((3, 4), np.float32)}, file)
    first = cache.digest(Embeddings.open(tmp_path))
    save_file({"wte.weight": np.ones((4, 4), np.float32)}, file)
    second = cache.digest(Embeddings.open(tmp_path))
    monkeypatch.setattr(Embeddings, "digest", None)
    assert cache.digest(Embeddings.open(tmp_path)) == second != first


def test_a_damaged_digest_is_computed_anew(tmp_path: Path) -> None:
    save_file({"wte.weight": np.zeros((3, 4), np.float32)}, tmp_path / "model.safetensors")
    cache, embeddings = NeighbourCache(tmp_path / "cache"), Embeddings.open(tmp_path)
    digest = cache.digest(embeddings)
    (remembered,) = (tmp_path / "cache" / "embeddings").iterdir()
    remembered.write_text("12")
    assert cache.digest(embeddings) == digest == remembered.read_text()
