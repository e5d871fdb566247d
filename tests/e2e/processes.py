"""The processes below one, as Linux tells them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def children(process: int) -> list[int]:
    """All processes below one."""
    found: list[int] = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, parent = int(stat.parent.name), int(stat.read_text().rpartition(") ")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == process:
            found += [name, *children(name)]
    return found


def left(processes: Iterable[int]) -> list[int]:
    """Those of them that still run."""
    found = []
    for process in processes:
        try:
            state = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2][0]
        except OSError:
            continue
        if state != "Z":
            found.append(process)
    return found
