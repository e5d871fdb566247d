from pathlib import Path

import pytest

from unhitch.errors import CheckpointError
from unhitch.organisms import NAMES, path

LARGEST_BYTES = 8_000_000


@pytest.mark.parametrize("name", NAMES)
def test_the_weights_of_every_bundled_model_are_shipped(name: str) -> None:
    files = {file.name for file in path(name).iterdir()}
    assert {"README.md"} < files
    assert any(file.endswith(".safetensors") for file in files)


@pytest.mark.parametrize("name", NAMES)
def test_a_bundled_model_is_small(name: str) -> None:
    assert sum(file.stat().st_size for file in path(name).iterdir()) < LARGEST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_no_configuration_names_a_path_of_the_machine_that_trained_it(name: str) -> None:
    texts = [file.read_text(encoding="utf-8") for file in path(name).glob("*config.json")]
    assert texts
    assert not any(str(Path(root)) in text for text in texts for root in ("/root", "/home", "/tmp", "/work"))  # noqa: S108


def test_an_unknown_name_is_refused_with_the_names_that_exist() -> None:
    with pytest.raises(CheckpointError, match=r"'mini-law'.*mini-base, mini-finance, mini-llama-base"):
        path("mini-law")
