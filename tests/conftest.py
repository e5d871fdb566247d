"""What holds for all tests: which start a real engine, their order, and that none sees what another left behind."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

E2E = Path(__file__).parent / "e2e"


@pytest.fixture(autouse=True)
def log_level() -> None:
    """A server in a test's process sets the level of our loggers; a later test would miss lines by it."""
    logging.getLogger("unhitch_server").setLevel(logging.NOTSET)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if E2E in item.path.parents:
            item.add_marker("e2e")
    # Short files at the end leave no process idle for long.
    shared = hasattr(config, "workerinput")
    items.sort(key=lambda item: item.get_closest_marker("e2e") is not None, reverse=shared)
