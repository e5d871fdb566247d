"""Marks: whatever lies in tests/e2e starts a real engine, and runs last; first where two processes share the work."""

from __future__ import annotations

from pathlib import Path

import pytest

E2E = Path(__file__).parent / "e2e"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if E2E in item.path.parents:
            item.add_marker("e2e")
    # Short files at the end leave no process idle for long.
    shared = hasattr(config, "workerinput")
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None, reverse=shared)
