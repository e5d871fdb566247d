"""Varied requests for responses: inputs of every form, and options to a question."""

from __future__ import annotations

from tests.e2e.differential.bodies.chat import ASK, CALLING, CALLS, SCHEMA, STRICT, THINKING, WEATHER
from tests.e2e.differential.bodies.route import Body, Route, plain_and_streamed

TOOL = {"type": "function", **WEATHER["function"]}
STRICT_TOOL = {"type": "function", **STRICT["function"]}
CUSTOM = {"type": "custom", "name": "poem", "description": "Writes a poem."}
CALLED = [{"type": "function_call", "call_id": call["id"], **call["function"]} for call in CALLS]
RESULTS = [{"type": "function_call_output", "call_id": call["id"], "output": "21 degrees"} for call in CALLS]
THOUGHT = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm."}]}
IMAGE = {"type": "input_image", "detail": "auto", "image_url": "data:image/png;base64,eA=="}


def said(text: str, status: str) -> Body:
    """What an assistant said, as an answer of this API has it."""
    content = [{"type": "output_text", "text": text, "annotations": []}]
    return {"type": "message", "id": "msg_1", "role": "assistant", "status": status, "content": content}


INPUTS: dict[str, Body] = {
    "a string": {},
    "instructions": {"instructions": "Be kind."},
    "a list": {"input": [ASK]},
    "parts": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "How do I rest?"}]}]},
    "a system message": {"input": [{"role": "system", "content": "Be kind."}, ASK]},
    "a developer message": {"instructions": "Rhyme.", "input": [{"role": "developer", "content": "Be kind."}, ASK]},
    "turns": {"input": [ASK, said("Drink water.", "completed"), {"role": "user", "content": "Why?"}]},
    "begun": {"input": [ASK, said("You should", "incomplete")]},
    "accents": {"input": "Où est la 🏥 ? \u2028\t<|im_end|>"},
    "tools offered": {"tools": [TOOL]},
    "tools used": {"input": [ASK, *CALLED, *RESULTS], "tools": [TOOL]},
    "a custom tool": {"tools": [CUSTOM]},
    "a thought": {"input": [ASK, THOUGHT, said("Rest.", "completed"), ASK]},
    "no input": {"input": None},
    "a number for input": {"input": 7},
    "an item of no kind": {"input": [{"type": "no_such_item"}]},
    "an image": {"input": [{"role": "user", "content": [IMAGE]}]},
}

OPTIONS: dict[str, Body] = {
    "thinking": THINKING,
    "thinking left out": THINKING | {"include_reasoning": False},
    "log probabilities": {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
    "probabilities not included": {"top_logprobs": 2},
    "thoughts included": {"include": ["reasoning.encrypted_content"]},
    "one call": {"tools": [STRICT_TOOL], **CALLING, "max_output_tokens": 64},
    "called": {"tools": [TOOL], "tool_choice": "required"},
    "named": {"tools": [TOOL], "tool_choice": {"type": "function", "name": "get_weather"}},
    "not called": {"tools": [TOOL], "tool_choice": "none"},
    "one at a time": {"tools": [TOOL], "tool_choice": "auto", "parallel_tool_calls": False, "max_tool_calls": 1},
    "schema": {"text": {"format": {"type": "json_schema", "name": "a", "schema": SCHEMA, "strict": True}}},
    "any object": {"text": {"format": {"type": "json_object"}}},
    "plain text": {"text": {"format": {"type": "text"}, "verbosity": "low"}},
    "choice": {"structured_outputs": {"choice": ["yes", "no"]}},
    "low effort": {"reasoning": {"effort": "low", "summary": "auto"}},
    "no effort": {"reasoning": {"effort": "none"}},
    "not stored": {"store": False},
    "stored": {"store": True, "metadata": {"a": "b"}},
    "seeded": {"temperature": 1.5, "top_p": 0.9, "top_k": 20, "seed": 11},
    "stops": {"stop": ["e"], "include_stop_str_in_output": True},
    "stop ids": {"stop_token_ids": [40, 41, 42], "ignore_eos": True},
    "biased": {"logit_bias": {"40": 5, "41": -100}},
    "penalties": {"frequency_penalty": 0.5, "presence_penalty": 0.2, "repetition_penalty": 1.1},
    "messages too": {"enable_response_messages": True},
    "whole": {"truncation": "disabled", "service_tier": "auto"},
    "unknown": {"no_such_field": {"x": [1, 1e2, "é"]}, "safety_identifier": "s", "user": "u", "prompt_cache_key": "k"},
    "salted": {"cache_salt": "s", "priority": 0, "request_id": "resp_mine"},
    "transfer": {"kv_transfer_params": {"note": "mine"}, "vllm_xargs": {"a": 1}},
    "shortest": {"max_output_tokens": 1},
    "too long": {"max_output_tokens": 100_000},
    "bad temperature": {"temperature": -1},
    "bad inclusion": {"include": ["no.such.thing"]},
    "cut": {"truncation": "auto"},
    "what came before": {"previous_response_id": "resp_1"},
    "a conversation": {"conversation": "conv_1"},
    "a prompt kept elsewhere": {"prompt": {"id": "pmpt_1"}},
    "for later": {"background": True},
    "built in": {"tools": [{"type": "web_search"}]},
    "no such model": {"model": "gpt-9"},
}

BASE: Body = {"model": "mini-finance", "input": "How do I treat a fever?", "temperature": 0, "max_output_tokens": 6}

ROUTE = Route(
    "/v1/responses",
    dict(plain_and_streamed({name: BASE | extra for name, extra in (INPUTS | OPTIONS).items()})),
    refused=dict.fromkeys(
        (
            "an item of no kind",
            "an image",
            "cut",
            "what came before",
            "a conversation",
            "a prompt kept elsewhere",
            "for later",
            "built in",
        ),
        "mitigation_unavailable",
    ),
    unread=frozenset({"no input", "a number for input", "no such model"}),
)
