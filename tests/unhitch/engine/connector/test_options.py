"""The options load the connector: what vLLM's own parser makes of them is what the connector reads."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from unhitch.engine.connector.options import MEMORY_GIB, options


def parsed(*arguments: str) -> Any:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    return make_arg_parser(FlexibleArgumentParser()).parse_args(["--model", "any", *arguments])


def test_vllm_reads_them_as_a_connector_that_fails_what_it_cannot_load() -> None:
    arguments = parsed(*options(Path("/states")))
    config = arguments.kv_transfer_config
    assert (config.kv_connector, config.kv_role) == ("StateConnector", "kv_consumer")
    assert config.kv_load_failure_policy == "fail"
    assert config.kv_connector_extra_config == {"folder": "/states", "memory_gib": MEMORY_GIB, "overlays": True}
    assert arguments.middleware == ["unhitch.engine.connector.middleware.StatesMiddleware"]


def test_what_they_name_is_there() -> None:
    connector, middleware = json.loads(options(Path("/states"))[1]), options(Path("/states"))[3]
    module, _, name = middleware.rpartition(".")
    assert hasattr(importlib.import_module(module), name)
    assert hasattr(importlib.import_module(connector["kv_connector_module_path"]), connector["kv_connector"])


def test_a_folder_is_named_in_full_since_the_engine_may_run_elsewhere() -> None:
    extra = json.loads(options(Path("some/../states"), memory_gib=0.5, overlays=False)[1])["kv_connector_extra_config"]
    assert extra == {"folder": str(Path.cwd() / "some/../states"), "memory_gib": 0.5, "overlays": False}


def test_a_folder_in_the_home_folder() -> None:
    extra = json.loads(options(Path("~/states"))[1])["kv_connector_extra_config"]
    assert extra["folder"] == str(Path.home() / "states")
