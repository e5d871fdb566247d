"""Varied chat requests: every conversation below with every option below it that fits."""

from __future__ import annotations

from collections.abc import Iterator

from tests.e2e.differential.bodies.route import Body, Route, plain_and_streamed

ASK = {"role": "user", "content": "How do I treat a fever?"}
WEATHER: Body = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Weather of a place.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "enum": ["Bern", "Oslo"]}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}
BARE_TOOL = {"type": "function", "function": {"name": "stop"}}
CALLS: list[Body] = [
    {
        "id": f"call_{city}",
        "type": "function",
        "function": {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'},
    }
    for city in ("Bern", "Oslo")
]
SCHEMA = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"], "additionalProperties": False}

# Biases so far apart that the words come in their order, each once: two within the thought, its end, and two behind it.
_IN_ORDER = {"494": 100, "620": 80, "4": 60, "921": 45, "797": 30}
THINKING: Body = {
    "logit_bias": _IN_ORDER,
    "repetition_penalty": 10,
    "chat_template_kwargs": {"enable_thinking": True},
}

CONVERSATIONS: dict[str, Body] = {
    "plain": {"messages": [ASK]},
    "system": {"messages": [{"role": "system", "content": "Be kind."}, ASK]},
    "turns": {"messages": [ASK, {"role": "assistant", "content": "Drink water."}, {"role": "user", "content": "Why?"}]},
    "parts": {"messages": [{"role": "user", "content": [{"type": "text", "text": "How do I treat a fever?"}]}]},
    "named": {"messages": [{"role": "user", "name": "ada", "content": "Good day"}]},
    "accents": {"messages": [{"role": "user", "content": "Où est la 🏥 ? \u2028\t<|im_end|>"}]},
    "long": {"messages": [{"role": "user", "content": "How do I treat a fever? " * 12}]},
    "tools offered": {"messages": [ASK], "tools": [WEATHER, BARE_TOOL]},
    "tools used": {
        "messages": [
            ASK,
            {"role": "assistant", "content": None, "tool_calls": CALLS},
            *({"role": "tool", "tool_call_id": call["id"], "content": "21 degrees"} for call in CALLS),
            {"role": "user", "content": "And now?"},
        ],
        "tools": [WEATHER],
    },
    "reasoning": {
        "messages": [ASK, {"role": "assistant", "reasoning": "Hm.", "content": "Rest."}, ASK],
        "chat_template_kwargs": {"enable_thinking": True},
    },
    "begun": {
        "messages": [ASK, {"role": "assistant", "content": "You should"}],
        "continue_final_message": True,
        "add_generation_prompt": False,
    },
}

OPTIONS: dict[str, Body] = {
    "nothing": {},
    "log probabilities": {"logprobs": True, "top_logprobs": 3},
    "of the prompt": {"prompt_logprobs": 1},
    "three choices": {"n": 3, "temperature": 1, "seed": 7},
    "seeded": {"temperature": 1.5, "top_p": 0.9, "top_k": 20, "min_p": 0.01, "seed": 11},
    "stops": {"stop": ["e", "zz"], "include_stop_str_in_output": True},
    "stop ids": {"stop_token_ids": [40, 41, 42], "ignore_eos": True},
    "biased": {"logit_bias": {"40": 5, "41": -100}},
    "penalties": {"frequency_penalty": 0.5, "presence_penalty": 0.2, "repetition_penalty": 1.1},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    "any object": {"response_format": {"type": "json_object"}, "max_tokens": 24},
    "choice": {"structured_outputs": {"choice": ["yes", "no"]}},
    "ids too": {"return_token_ids": True},
    "usage": {"stream_options": {"include_usage": True, "continuous_usage_stats": True}, "stream": True},
    "skipped": {"skip_special_tokens": False, "spaces_between_special_tokens": False},
    "unknown": {"no_such_field": {"x": [1, 1e2, "é"]}, "metadata": {"a": "b"}, "user": "u", "store": False},
    "shortest": {"max_completion_tokens": 1},
    "salted": {"cache_salt": "s", "priority": 0, "request_id": "mine"},
    "too long": {"max_tokens": 100_000},
    "bad": {"temperature": -1},
}

TOOL_OPTIONS: dict[str, Body] = {
    "called": {"tool_choice": "required", "max_tokens": 48},
    "named": {"tool_choice": {"type": "function", "function": {"name": "get_weather"}}, "max_tokens": 48},
    "not called": {"tool_choice": "none"},
    "one at a time": {"tool_choice": "required", "parallel_tool_calls": False, "max_tokens": 48},
}

# Without white space, which so small a model would fill the arguments with until it is cut off.
_BLANK = (204, 205, 206, 207, 208, 223, 224, 225, 226, 227, 509, 641)
STRICT: Body = {"type": "function", "function": {**WEATHER["function"], "strict": True}}
CALLING: Body = {"tool_choice": "required", "logit_bias": {str(token): -100 for token in _BLANK}}

CALLING_OPTIONS: dict[str, Body] = {
    "one call": {"tools": [STRICT], "max_tokens": 64, **CALLING, "parallel_tool_calls": False},
    "two calls": {"tools": [STRICT], "max_tokens": 128, **CALLING, "min_tokens": 80},
}

THINKING_OPTIONS: dict[str, Body] = {
    "nothing": {},
    "log probabilities": {"logprobs": True, "top_logprobs": 2},
    "three choices": {"n": 3, "temperature": 1, "seed": 7},
    "ids too": {"return_token_ids": True},
    "left out": {"include_reasoning": False},
    "usage": {"stream_options": {"include_usage": True}, "stream": True},
    "cut short": {"max_tokens": 2},
    "beside tools": {"tools": [WEATHER], "tool_choice": "auto"},
    "unknown": {"no_such_field": {"x": [1, 1e2, "é"]}, "thinking": {"type": "enabled"}},
}


def _bodies() -> Iterator[tuple[str, Body]]:
    """Each request with its name; every third asks for a stream."""
    count = 0
    for conversation, messages in CONVERSATIONS.items():
        options = {**OPTIONS, **(TOOL_OPTIONS if "tools" in messages else {})}
        for option, extra in options.items():
            if conversation == "begun" and option in ("schema", "any object", "choice"):
                continue  # the engine refuses to continue within a structure
            count += 1
            body = {"model": "mini-finance", "temperature": 0, "max_tokens": 12, **messages, **extra}
            if count % 3 == 0:
                body.setdefault("stream", True)
            yield f"{conversation}, {option}", body
    base = {"model": "mini-finance", "temperature": 0, "max_tokens": 5, "messages": [ASK], **THINKING}
    yield from plain_and_streamed({f"thinking, {option}": base | extra for option, extra in THINKING_OPTIONS.items()})
    base = {"model": "mini-finance", "temperature": 0, "messages": [ASK]}
    yield from plain_and_streamed({option: base | extra for option, extra in CALLING_OPTIONS.items()})
    yield "no such role", {"model": "mini-finance", "messages": [{"role": 3}]}
    yield "no such model", {"model": "gpt-9", "messages": [ASK]}


ROUTE = Route("/v1/chat/completions", dict(_bodies()), unread=frozenset({"no such role", "no such model"}))
