"""What a request for `best-of` may ask for, and what its scorer is shown of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from unhitch.errors import MitigationUnavailable
from unhitch.evals.question import Message, Question
from unhitch.rendering.conversation import Conversation
from unhitch.rendering.messages import SYSTEM_ROLES, content_text

_SHOWN_ROLES = ("system", "user", "assistant")


def require_one_whole_answer(fields: Mapping[str, Any]) -> None:
    """Refuses a body whose answer could not be rated before it is returned, or holds several.

    Args:
        fields: Decoded.

    Raises:
        MitigationUnavailable: The body asks for a stream, or for other than one choice.
    """
    if fields.get("stream") not in (None, False):
        raise MitigationUnavailable(
            "`stream` is set, and `best-of` rates whole answers: a stream would have to be held back to its end. Leave "
            "`stream` out, or leave `best-of` out.",
            param="stream",
        )
    if fields.get("n") not in (None, 1):
        raise MitigationUnavailable(
            f"`n` is {fields['n']!r}, and `best-of` returns one answer, the best of its own draws. Leave `n` out, or "
            "leave `best-of` out.",
            param="n",
        )


def question(conversation: Conversation) -> Question:
    """What the scorer is told was asked: the texts up to the last words of the user's.

    Results of tools, calls without words, and what follows the user's last words are left out; a developer's message is
    a system message.

    Args:
        conversation: As the client sent it, before any edit.

    Raises:
        MitigationUnavailable: No message is the user's.
    """
    messages = []
    for message in conversation.messages:
        role, text = message["role"], content_text(message.get("content"))
        role = "system" if role in SYSTEM_ROLES else role
        if role in _SHOWN_ROLES and (text or role == "user"):
            messages.append(Message.model_validate({"role": role, "content": text}))
    while messages and messages[-1].role != "user":
        messages.pop()
    if not messages:
        raise MitigationUnavailable(
            "no message is the user's, so the scorer of `best-of` would have no question to rate answers to. Send a "
            "message of the role user, or leave `best-of` out.",
            param="messages",
        )
    return Question(id="request", messages=tuple(messages))
