"""Keeps what the engine has cached for one client's key apart from what it has cached for another's.

vLLM serves a prompt that begins like an earlier one from its prefix cache, whoever sent that: the time to the first
token, and `cached_tokens` where the engine counts them, tell a client how far another's prompt begins like its own.
With a `cache_salt` in a request only requests with the same one share blocks.
"""

from __future__ import annotations

import hashlib
import json

from unhitch_server import splice
from unhitch_server.body import text_of

MEMBER = "cache_salt"
"""Of the bodies of all four routes that are mitigated, and of vLLM's own for embeddings, scores and token ids."""


def salt_of(identity: str, given: str | None = None) -> str:
    """The salt of a client's request.

    Args:
        identity: Tells keys apart, and stays the same for one, such as the hash of the key.
        given: The client's own `cache_salt`, by which it keeps its users apart. It leads to no other client's blocks.

    Returns:
        64 hexadecimal digits, which vLLM takes.
    """
    return hashlib.sha256(json.dumps(["unhitch-cache-salt", identity, given]).encode()).hexdigest()


def salted(body: bytes, identity: str) -> bytes:
    """The body with the salt of its client in it, and nothing else changed. Blocks while it decodes.

    Args:
        body: A JSON object in UTF-8. What its `cache_salt` is, where it is no text, stays for the engine to refuse.
        identity: As in `salt_of`.

    Raises:
        InvalidBody: It is no JSON object in UTF-8.
    """
    text, given = text_of(body), None
    for member in splice.members(text):  # of members named twice the last counts
        if member.key == MEMBER:
            given = json.loads(text[member.value_start : member.stop])
    if given is not None and (not isinstance(given, str) or not given):
        return body
    return splice.put(text, {MEMBER: json.dumps(salt_of(identity, given))}).encode("utf-8")
