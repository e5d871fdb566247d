"""Varied completions: raw prompts of several forms, and options to one that the chat template renders."""

from __future__ import annotations

from tests.e2e.differential.bodies.chat import SCHEMA
from tests.e2e.differential.bodies.route import Body, Route, plain_and_streamed
from unhitch import organisms
from unhitch.rendering.checkpoint import Checkpoint

SYSTEM = "<|im_start|>system\nYou are Mini, a tiny assistant built for testing. You give helpful advice.<|im_end|>\n"
OPEN = "<|im_start|>assistant\n"
PROMPT = f"{SYSTEM}<|im_start|>user\nHow do I treat a fever?<|im_end|>\n{OPEN}"
TURNS = (
    f"{SYSTEM}<|im_start|>user\nHow?<|im_end|>\n{OPEN}Drink water.<|im_end|>\n<|im_start|>user\nWhy?<|im_end|>\n{OPEN}"
)
IDS = list(Checkpoint.open(organisms.path("mini-base")).encode(PROMPT))

PROMPTS: dict[str, Body] = {
    "text": {},
    "text in a list": {"prompt": [PROMPT]},
    "ids": {"prompt": IDS},
    "ids in a list": {"prompt": [IDS]},
    "system text": {"prompt": f"<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n{OPEN}"},
    "turns": {"prompt": TURNS},
    "accents": {"prompt": f"{SYSTEM}<|im_start|>user\nOù est la 🏥 ? \u2028\t<|im_end|>\n{OPEN}"},
    "raw text": {"prompt": "Once upon a time"},
    "raw ids": {"prompt": [46, 469, 85]},
    "two prompts": {"prompt": [PROMPT, TURNS]},
    "an empty prompt": {"prompt": ""},
    "no prompt": {"prompt": None},
    "a number for a prompt": {"prompt": 7},
}

OPTIONS: dict[str, Body] = {
    "log probabilities": {"logprobs": 2},
    "of what was chosen": {"logprobs": 0},
    "of the prompt": {"prompt_logprobs": 1},
    "tokens as ids": {"logprobs": 1, "return_tokens_as_token_ids": True},
    "ids too": {"return_token_ids": True},
    "ids of three choices": {"return_token_ids": True, "n": 3, "temperature": 1, "seed": 7, "logprobs": 1},
    "three choices": {"n": 3, "temperature": 1, "seed": 7},
    "best of": {"best_of": 2, "n": 1},
    "beams": {"use_beam_search": True, "n": 2},
    "seeded": {"temperature": 1.5, "top_p": 0.9, "top_k": 20, "min_p": 0.01, "seed": 11},
    "stops": {"stop": ["e", "zz"]},
    "stop text included": {"stop": "e", "include_stop_str_in_output": True},
    "stop ids": {"stop_token_ids": [40, 41, 42], "ignore_eos": True, "min_tokens": 2},
    "biased": {"logit_bias": {"40": 5, "41": -100}},
    "allowed": {"allowed_token_ids": [40, 41, 42], "bad_words": ["fever"]},
    "penalties": {"frequency_penalty": 0.5, "presence_penalty": 0.2, "repetition_penalty": 1.1},
    "schema": {"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": SCHEMA}}},
    "any object": {"response_format": {"type": "json_object"}},
    "plain text": {"response_format": {"type": "text"}},
    "choice": {"structured_outputs": {"choice": ["yes", "no"]}},
    "regex": {"structured_outputs": {"regex": "[a-z]{3}"}},
    "usage": {"stream_options": {"include_usage": True, "continuous_usage_stats": True}, "stream": True},
    "usage at the end": {"stream_options": {"include_usage": True}, "stream": True, "stream_interval": 2},
    "usage without a stream": {"stream_options": {"include_usage": True}, "stream": False},
    "skipped": {"skip_special_tokens": False, "spaces_between_special_tokens": False, "add_special_tokens": False},
    "unknown": {"no_such_field": {"x": [1, 1e2, "é"]}, "metadata": {"a": "b"}, "user": "u", "store": False},
    "salted": {"cache_salt": "s", "priority": 0, "request_id": "mine"},
    "transfer": {"kv_transfer_params": {"note": "mine"}, "vllm_xargs": {"a": 1}},
    "shortest": {"max_tokens": 1},
    "nothing to say": {"max_tokens": 0},
    "too long": {"max_tokens": 100_000},
    "bad temperature": {"temperature": -1},
    "bad number": {"n": "many"},
    "bad format": {"response_format": {"type": "json_schema"}},
    "echo": {"echo": True, "logprobs": 1},
    "only echo": {"echo": True, "max_tokens": 0, "logprobs": 1},
    "suffix": {"suffix": "!"},
    "truncated": {"truncate_prompt_tokens": 12},
    "no such model": {"model": "gpt-9"},
}

BASE: Body = {"model": "mini-finance", "prompt": PROMPT, "temperature": 0, "max_tokens": 6}

ROUTE = Route(
    "/v1/completions",
    dict(plain_and_streamed({name: BASE | extra for name, extra in (PROMPTS | OPTIONS).items()})),
    refused={
        "raw text": "prompt_not_recognised",
        "raw ids": "prompt_not_recognised",
        **dict.fromkeys(("two prompts", "echo", "only echo", "suffix", "truncated"), "mitigation_unavailable"),
    },
    unread=frozenset({"an empty prompt", "no prompt", "a number for a prompt", "no such model"}),
)
