"""How tests are divided between processes."""

from __future__ import annotations

from xdist.scheduler import LoadFileScheduling

STATES, OWN, SHARED = "tests/e2e/states/", "tests/e2e/own_engine/", "tests/e2e/"


class ByEngine(LoadFileScheduling):  # type: ignore[misc]
    """Files go to whatever process is free, and those that share an engine to the same one, so that it starts once."""

    def _split_scope(self, nodeid: str) -> str:
        file: str = super()._split_scope(nodeid)
        if file.startswith(OWN):
            return file
        return next((shared for shared in (STATES, SHARED) if file.startswith(shared)), file)


def rank(nodeid: str) -> int:
    """Where a test belongs in the order: what takes longest first, so that no process is idle at the end."""
    if nodeid.startswith(OWN):
        return 1
    return 0 if nodeid.startswith(SHARED) else 2
