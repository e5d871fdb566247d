"""What a conversation can be known by where nobody names it: how it begins."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

_CONVERSATIONS = ("messages", "input")
_FIXED = ("system", "instructions", "prompt")


def opening(fields: Mapping[str, Any] | None) -> str | None:
    """All through the first words of the user: equal in every turn of a conversation, on every route.

    Args:
        fields: A body's members.

    Returns:
        Canonical JSON; None where nothing is said.
    """
    if not fields:
        return None
    begins: dict[str, Any] = {name: fields[name] for name in _FIXED if fields.get(name)}
    for name in _CONVERSATIONS:
        entries = fields.get(name)
        if isinstance(entries, list) and entries:
            first = next((at for at, entry in enumerate(entries) if _of_user(entry)), len(entries))
            begins[name] = entries[: first + 1]
        elif entries:
            begins[name] = entries
    return json.dumps(begins, separators=(",", ":"), sort_keys=True) if begins else None


def _of_user(entry: object) -> bool:
    return isinstance(entry, Mapping) and entry.get("role") == "user"
