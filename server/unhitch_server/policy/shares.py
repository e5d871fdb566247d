"""Which share of a rollout a session is in."""

from __future__ import annotations

import hashlib

_ALL = 2**64


def in_share(percent: float, policy: str, holder: str) -> bool:
    """Whether whoever keeps its share is among so many of all; the same ones are, whenever it is asked.

    Args:
        percent: From 0 (nobody) to 100 (all); whoever is in a share is in every larger one.
        policy: The policy's name: different policies share out differently.
        holder: The session, or what stands for it.
    """
    digest = hashlib.sha256(f"{policy}\0{holder}".encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / _ALL * 100 < percent
