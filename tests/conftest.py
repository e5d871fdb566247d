"""What holds for all tests: which start a real engine, their order, and that none sees what another left behind."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from tests.by_engine import SHARED, ByEngine, rank


@pytest.fixture(autouse=True)
def log_level() -> None:
    """A server in a test's process sets the level of our loggers; a later test would miss lines by it."""
    logging.getLogger("unhitch_server").setLevel(logging.NOTSET)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith(SHARED):
            item.add_marker("e2e")
    if hasattr(config, "workerinput"):  # alone, what is quick comes first
        items.sort(key=lambda item: rank(item.nodeid))
    else:
        items.sort(key=lambda item: item.nodeid.startswith(SHARED))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByEngine:
    return ByEngine(config, log)
