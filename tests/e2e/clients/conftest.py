"""Clients of other makers, each loaded once and only where a test asks for it; none may call anybody but the proxy."""

from __future__ import annotations

import importlib
import ipaddress
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.clients import asking
from tests.e2e.conftest import Stack


@pytest.fixture(autouse=True)
def _no_calls_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Refuses to find or call other machines, and fails the test that tried, whether or not its client minded."""
    tried: list[str] = []
    find, connect = socket.getaddrinfo, socket.socket.connect

    def check(host: str | bytes | None) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name is not None and not _is_loopback(name):
            tried.append(name)
            raise socket.gaierror(socket.EAI_NONAME, f"a test may not call {name}")

    def find_here(host: str | bytes | None, *arguments: Any, **options: Any) -> Any:
        check(host)
        return find(host, *arguments, **options)

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family in {socket.AF_INET, socket.AF_INET6}:
            check(address[0])
        connect(self, address)

    monkeypatch.setattr(socket, "getaddrinfo", find_here)
    monkeypatch.setattr(socket.socket, "connect", connect_here)
    yield
    assert not tried, f"the client called {tried}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


@pytest.fixture(params=list(asking.WAYS.values()), ids=list(asking.WAYS))
def headers(request: pytest.FixtureRequest) -> dict[str, str]:
    """What a client sends beside its own headers: nothing, or a mitigation."""
    sent: dict[str, str] = request.param
    return sent


@pytest.fixture
def said(stack: Stack, headers: dict[str, str]) -> str:
    """The answer that every client must get to `asking.MESSAGES` with these headers."""
    return asking.said(stack, headers)


@pytest.fixture(scope="session")
def no_white_space() -> dict[str, int]:
    return asking.no_white_space()


# They are imported by name, which spares the type checker their sources, and under the guard above.
@pytest.fixture
def anthropic() -> Any:
    return importlib.import_module("anthropic")


@pytest.fixture
def litellm(monkeypatch: pytest.MonkeyPatch) -> Any:
    # Its list of prices is otherwise fetched while it is imported.
    monkeypatch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    return importlib.import_module("litellm")


@pytest.fixture
def langchain_openai(monkeypatch: pytest.MonkeyPatch) -> Any:
    for name in ("LANGSMITH_TRACING", "LANGCHAIN_TRACING_V2"):
        monkeypatch.setenv(name, "false")
    return importlib.import_module("langchain_openai")
