"""Varied Anthropic messages: conversations of every form, and options to a question."""

from __future__ import annotations

from tests.e2e.differential.bodies.chat import ASK, SCHEMA, WEATHER
from tests.e2e.differential.bodies.route import Body, Route, plain_and_streamed


def text(said: str, **more: object) -> Body:
    return {"type": "text", "text": said, **more}


CACHED = {"cache_control": {"type": "ephemeral"}}
FUNCTION = WEATHER["function"]
TOOL = {key: FUNCTION[key] for key in ("name", "description")} | {"input_schema": FUNCTION["parameters"]}
USES = [
    {"type": "tool_use", "id": f"toolu_{city}", "name": "get_weather", "input": {"city": city}}
    for city in ("Bern", "Oslo")
]
RESULTS = [
    {"type": "tool_result", "tool_use_id": "toolu_Bern", "content": "21 degrees"},
    {"type": "tool_result", "tool_use_id": "toolu_Oslo", "content": [text("9 degrees")], "is_error": False},
]
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "eA=="}}
DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Rest."}}

CONVERSATIONS: dict[str, Body] = {
    "a string": {},
    "blocks": {"messages": [{"role": "user", "content": [text("How do I treat"), text(" a fever?", **CACHED)]}]},
    "system text": {"system": "Be kind."},
    "system blocks": {"system": [text("Be kind."), text(" Be brief.", **CACHED)]},
    "a system message": {"messages": [ASK, {"role": "system", "content": "Be kind."}, ASK]},
    "turns": {"messages": [ASK, {"role": "assistant", "content": "Drink water."}, {"role": "user", "content": "Why?"}]},
    "begun": {"messages": [ASK, {"role": "assistant", "content": "You should"}]},
    "accents": {"messages": [{"role": "user", "content": "Où est la 🏥 ? \u2028\t<|im_end|>"}]},
    "tools offered": {"tools": [TOOL]},
    "tools used": {
        "messages": [ASK, {"role": "assistant", "content": [text("So."), *USES]}, {"role": "user", "content": RESULTS}],
        "tools": [TOOL],
    },
    "a thought": {"messages": [ASK, {"role": "assistant", "content": [THOUGHT, text("Rest.")]}, ASK]},
    "a hidden thought": {
        "messages": [ASK, {"role": "assistant", "content": [{"type": "redacted_thinking", "data": "eA=="}]}, ASK]
    },
    "no messages": {"messages": None},
    "no such role": {"messages": [{"role": "tool", "content": "Hi"}]},
    "a number for content": {"messages": [{"role": "user", "content": 7}]},
    "an image": {"messages": [{"role": "user", "content": [IMAGE, text("What is it?")]}]},
    "a document": {"messages": [{"role": "user", "content": [DOCUMENT, text("What is it?")]}]},
}

OPTIONS: dict[str, Body] = {
    "thinking on": {"chat_template_kwargs": {"enable_thinking": True}},
    "thinking wished for": {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 1025},
    "thinking left open": {"thinking": {"type": "adaptive"}},
    "thinking off": {"thinking": {"type": "disabled"}},
    "effort": {"output_config": {"effort": "low"}},
    "schema": {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
    "may be called": {"tools": [TOOL], "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
    "called": {"tools": [TOOL], "tool_choice": {"type": "any"}},
    "named": {"tools": [TOOL], "tool_choice": {"type": "tool", "name": "get_weather"}},
    "not called": {"tools": [TOOL], "tool_choice": {"type": "none"}},
    "a strict tool": {"tools": [TOOL | CACHED | {"type": "custom", "strict": True}]},
    "no tools": {"tools": []},
    "stopped": {"stop_sequences": ["e"]},
    "stops that never come": {"stop_sequences": ["zz", "qq"]},
    "likeliest": {"temperature": 1, "top_k": 1},
    "likely": {"top_p": 0.5, "top_k": 20},
    "metadata": {"metadata": {"user_id": "u"}, "service_tier": "auto"},
    "unknown": {"no_such_field": {"x": [1, 1e2, "é"]}, "container": None, "mcp_servers": [], "seed": 1},
    "salted": {"cache_salt": "s"},
    "transfer": {"kv_transfer_params": {"note": "mine"}, "vllm_xargs": {"a": 1}},
    "shortest": {"max_tokens": 1},
    "nothing to say": {"max_tokens": 0},
    "no limit": {"max_tokens": None},
    "too long": {"max_tokens": 100_000},
    "bad temperature": {"temperature": -1},
    "bad choice": {"tools": [TOOL], "tool_choice": {"type": "maybe"}},
    "bad stops": {"stop_sequences": 7},
    "bad budget": {"thinking": {"type": "enabled", "budget_tokens": 9}},
    "no such model": {"model": "gpt-9"},
}

BASE: Body = {"model": "mini-finance", "messages": [ASK], "temperature": 0, "max_tokens": 6}

ROUTE = Route(
    "/v1/messages",
    dict(plain_and_streamed({name: BASE | extra for name, extra in (CONVERSATIONS | OPTIONS).items()})),
    refused=dict.fromkeys(("an image", "a document"), "mitigation_unavailable"),
    unread=frozenset({"no messages", "no such role", "a number for content", "bad choice", "no such model"}),
)
