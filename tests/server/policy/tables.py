"""Tables of policies as an operator would write them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from unhitch.registry import Registry
from unhitch_server.policy.reading import read
from unhitch_server.policy.table import PolicyTable

ENGINE = "http://engine"


def table(
    text: str, *, environ: Mapping[str, str] | None = None, chance: Callable[[], float] | None = None
) -> PolicyTable:
    """The table of a file's text; `chance` never hits without being given."""
    reading = read(text.encode(), "policy.yaml", upstream=None if "upstreams" in text else ENGINE, environ=environ)
    return PolicyTable(reading.document, Registry(), reading.places, chance or (lambda: 0.999))


def lines(*headers: tuple[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as ASGI has them."""
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
