"""The options of vLLM that load the connector and its middleware."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONNECTOR = "StateConnector"
"""The class in `connector.py`, by which vLLM finds it."""

MEMORY_GIB = 2.0
"""Host memory that each worker may fill with states, in GiB."""

MOST_STATES, MOST_GIB = 1000, 50.0
"""An engine whose folder holds so much captures no more: whoever reaches the engine can ask it to."""


def options(folder: Path, *, memory_gib: float = MEMORY_GIB, overlays: bool = True) -> list[str]:
    """Arguments for `vllm serve`; unhitch must be importable in its environment.

    Args:
        folder: Where the engine finds states, and writes those that it captures.
        memory_gib: Host memory that each worker may fill with states.
        overlays: Whether states of a postfix are served. They need Python between the layers, so vLLM keeps CUDA graphs
            from spanning attention; without them it may record whole forward passes.
    """
    connector = {
        "kv_connector": CONNECTOR,
        "kv_connector_module_path": "unhitch.engine.connector.connector",
        "kv_role": "kv_consumer",
        "kv_connector_extra_config": {
            "folder": str(folder.expanduser().absolute()),
            "memory_gib": memory_gib,
            "overlays": overlays,
        },
    }
    middleware = "unhitch.engine.connector.middleware.StatesMiddleware"
    return ["--kv-transfer-config", json.dumps(connector), "--middleware", middleware]


def memory_bytes(extra: Mapping[str, Any]) -> int:
    """Bytes of host memory that each worker may fill with states.

    Args:
        extra: vLLM's `kv_connector_extra_config`.
    """
    return int(float(extra.get("memory_gib", MEMORY_GIB)) * 2**30)
