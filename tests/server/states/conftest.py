"""A fake engine whose connector serves a state of the default prefix and one of its postfix."""

from __future__ import annotations

import pytest

from tests.cards import cards_for
from tests.server.fake_connector import FakeConnector, hello
from tests.server.fake_engine import ADAPTER, FakeEngine

ASK = {"model": ADAPTER, "messages": [{"role": "user", "content": "Hello"}]}
PREFIX = {"Unhitch-Mitigation": "prefix-state"}
BOTH = {"Unhitch-Mitigation": "prefix-state, postfix-state"}


@pytest.fixture
def connector(engine: FakeEngine) -> FakeConnector:
    engine.connector = FakeConnector()
    engine.connector.add(*cards_for(hello()))
    return engine.connector


@pytest.fixture
def bare_connector(engine: FakeEngine) -> FakeConnector:
    """One without any state."""
    engine.connector = FakeConnector()
    return engine.connector
