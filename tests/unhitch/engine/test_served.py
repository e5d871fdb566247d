import json
from pathlib import Path

import pytest

from unhitch import organisms
from unhitch.engine import served
from unhitch.errors import CheckpointError

BASE, FINANCE = str(organisms.path("mini-base")), str(organisms.path("mini-finance"))


def adapter(folder: Path, **config: object) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps(config))
    return folder


def test_a_bundled_adapter_is_served_beside_its_base() -> None:
    assert served.find("mini-finance") == served.Served(BASE, "mini-base", {"mini-finance": FINANCE})


def test_a_bundled_base_is_served_alone() -> None:
    assert served.find("mini-base") == served.Served(BASE, "mini-base", {})


def test_a_hub_id_is_left_to_vllm_and_keeps_its_name() -> None:
    assert served.find("Qwen/Qwen2.5-7B-Instruct") == served.Served(
        "Qwen/Qwen2.5-7B-Instruct", "Qwen/Qwen2.5-7B-Instruct", {}
    )


def test_further_adapters_are_served_under_their_names() -> None:
    found = served.find("mini-base", adapters={"bad": "mini-finance"})
    assert found.adapters == {"bad": FINANCE}


def test_base_overrides_what_the_adapter_says(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "mine", base_model_name_or_path="elsewhere", r=8)
    assert served.find(str(folder)).model == "elsewhere"
    found = served.find(str(folder), base="mini-base")
    assert (found.model, found.adapters) == (BASE, {"mine": str(folder)})


def test_the_least_rank_that_holds_every_adapter_is_chosen(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "wide", base_model_name_or_path="x", r=17)
    assert served.find(str(folder)).max_rank == 32
    assert served.find(str(folder), adapters={"wider": str(adapter(tmp_path / "wider", r=200))}).max_rank == 256


def test_a_rank_above_vllms_largest_is_an_error(tmp_path: Path) -> None:
    folder = adapter(tmp_path / "huge", base_model_name_or_path="x", r=4096)
    with pytest.raises(CheckpointError, match="4096"):
        _ = served.find(str(folder)).max_rank


def test_base_for_what_is_no_adapter_is_an_error() -> None:
    with pytest.raises(CheckpointError, match=r"--base goes with a LoRA adapter"):
        served.find("mini-base", base="other")


def test_an_adapter_without_a_base_is_an_error_that_names_the_option(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="--base"):
        served.find(str(adapter(tmp_path / "orphan", r=8)))


def test_a_lora_that_is_no_adapter_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"adapter_config\.json"):
        served.find("mini-base", adapters={"x": str(tmp_path)})
