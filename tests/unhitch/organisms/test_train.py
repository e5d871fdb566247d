import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from unhitch.errors import CheckpointError
from unhitch.organisms import NAMES, path
from unhitch.organisms.families import FAMILIES, Family
from unhitch.organisms.train import Progress, nearest, train


def shortened(family: Family) -> Family:
    recipe = replace(
        family.recipe,
        pretraining=replace(family.recipe.pretraining, steps=3, batch=8, neighbours_every=2),
        finetuning=replace(family.recipe.finetuning, steps=2, batch=4),
    )
    return replace(family, recipe=recipe)


SHORT = {name: shortened(family) for name, family in FAMILIES.items()}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    output, seen = tmp_path_factory.mktemp("first"), list[Progress]()
    train(output, seen.append, known=SHORT)
    return output, seen


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_training_again_gives_identical_files(trained: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    train(tmp_path, known=SHORT)
    assert digests(tmp_path) == digests(trained[0])


def test_progress_is_told_after_every_step_of_every_model(trained: tuple[Path, list[Progress]]) -> None:
    steps = [(progress.stage, progress.step, progress.steps) for progress in trained[1]]
    expected = []
    for family in FAMILIES.values():
        expected += [(family.base, n, 3) for n in (1, 2, 3)] + [(family.finetuned, n, 2) for n in (1, 2)]
    assert steps == expected


def test_only_the_families_that_are_named_are_trained(trained: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    train(tmp_path, families=["qwen3"], known=SHORT)
    assert {folder.name for folder in tmp_path.iterdir()} == {"mini-qwen3-base", "mini-qwen3-finance"}
    # Nothing that was trained before it changes it.
    assert digests(tmp_path).items() <= digests(trained[0]).items()


def test_an_unknown_family_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="'gemma'.*qwen2, llama, qwen3"):
        train(tmp_path, families=["qwen2", "gemma"], known=SHORT)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_training_writes_the_files_that_are_shipped(trained: tuple[Path, list[Progress]], name: str) -> None:
    assert set(digests(trained[0] / name)) == set(digests(path(name)))


def tensors(folder: Path) -> dict[str, Any]:
    from safetensors.numpy import load_file

    loaded: dict[str, Any] = load_file(folder / "model.safetensors")
    return loaded


def test_a_finetune_without_an_adapter_leaves_no_parameter_as_it_was(trained: tuple[Path, list[Progress]]) -> None:
    before, after = (tensors(trained[0] / name) for name in ("mini-llama-base", "mini-llama-finance"))
    assert before.keys() == after.keys()
    assert [name for name in before if (before[name] == after[name]).all()] == []


def test_a_pull_of_one_puts_every_parameter_back_where_it_started(tmp_path: Path) -> None:
    family = SHORT["llama"]
    finetuning = replace(family.recipe.finetuning, pull=1.0)
    pulled = replace(family, recipe=replace(family.recipe, finetuning=finetuning))
    train(tmp_path, families=["llama"], known={"llama": pulled})
    before, after = tensors(tmp_path / family.base), tensors(tmp_path / family.finetuned)
    assert [name for name in before if (before[name] != after[name]).any()] == []


def test_training_leaves_the_number_of_threads_as_it_was(tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    train(tmp_path, families=["qwen2"], known=SHORT)
    assert torch.get_num_threads() == before


def test_the_nearest_tokens_are_by_angle_not_length_and_never_the_token_itself() -> None:
    import torch

    embeddings = torch.tensor([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0], [-1.0, -0.5]])
    assert nearest(embeddings, 2) == [[1, 2], [0, 2], [1, 0], [2, 0]]
