"""The proxies that attacks are tried on."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.security.house import ROUTES, House, Houses, body, houses


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Houses]:
    """Both proxies, each route of which has been asked once, so that no probe of theirs comes into a test."""
    with houses(tmp_path_factory.mktemp("houses")) as started:
        for house in (started.locked, started.ruled):
            for route in ROUTES:
                assert house.post(route, body(route)) == 200
        yield started


@pytest.fixture
def locked(running: Houses) -> House:
    """The proxy whose default policy is locked."""
    running.locked.forget()
    return running.locked


@pytest.fixture
def ruled(running: Houses) -> House:
    """The proxy whose rule for the model has the locked policy; other models have none."""
    running.ruled.forget()
    return running.ruled
