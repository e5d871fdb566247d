import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from unhitch.organisms import NAMES, path
from unhitch.organisms.recipe import RECIPE
from unhitch.organisms.train import Progress, nearest, train

SHORT = replace(
    RECIPE,
    pretraining=replace(RECIPE.pretraining, steps=3, batch=8, neighbours_every=2),
    finetuning=replace(RECIPE.finetuning, steps=2, batch=4),
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Progress]]:
    output, seen = tmp_path_factory.mktemp("first"), list[Progress]()
    train(output, seen.append, SHORT)
    return output, seen


def digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}


def test_training_again_gives_identical_files(trained: tuple[Path, list[Progress]], tmp_path: Path) -> None:
    train(tmp_path, recipe=SHORT)
    assert digests(tmp_path) == digests(trained[0])


def test_progress_is_told_after_every_step_of_both_models(trained: tuple[Path, list[Progress]]) -> None:
    steps = [(progress.stage, progress.step, progress.steps) for progress in trained[1]]
    assert steps == [("mini-base", n, 3) for n in (1, 2, 3)] + [("mini-finance", n, 2) for n in (1, 2)]


@pytest.mark.parametrize("name", NAMES)
def test_training_writes_the_files_that_are_shipped(trained: tuple[Path, list[Progress]], name: str) -> None:
    assert set(digests(trained[0] / name)) == set(digests(path(name)))


def test_training_leaves_the_number_of_threads_as_it_was(tmp_path: Path) -> None:
    import torch

    before = torch.get_num_threads()
    train(tmp_path, recipe=replace(SHORT, threads=1))
    assert torch.get_num_threads() == before


def test_the_nearest_tokens_are_by_angle_not_length_and_never_the_token_itself() -> None:
    import torch

    embeddings = torch.tensor([[1.0, 0.0], [10.0, 1.0], [0.0, 1.0], [-1.0, -0.5]])
    assert nearest(embeddings, 2) == [[1, 2], [0, 2], [1, 0], [2, 0]]
