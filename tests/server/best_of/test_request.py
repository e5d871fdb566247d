from __future__ import annotations

from unhitch.rendering.conversation import Conversation
from unhitch_server.best_of.request import question


def test_the_scorer_is_shown_the_texts_up_to_the_users_last_words() -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "One"}, {"type": "text", "text": "more?"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "content": "42", "tool_call_id": "1"},
        {"role": "assistant", "content": "Two."},
        {"role": "user", "content": "Three?"},
        {"role": "tool", "content": "43", "tool_call_id": "2"},
    ]
    shown = question(Conversation.from_body({"messages": messages}, content_format="openai"))
    assert [(message.role, message.content) for message in shown.messages] == [
        ("system", "Be brief."),
        ("user", "One\nmore?"),
        ("assistant", "Two."),
        ("user", "Three?"),
    ]
    assert shown.text == "Three?"
