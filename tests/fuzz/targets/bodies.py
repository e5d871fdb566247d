"""Bodies of the four routes on which mitigations are made."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import cache

from tests.e2e.differential.bodies import chat, completions, messages, responses
from tests.fuzz import json_text as js
from tests.fuzz.engine import SECRET, serving
from tests.fuzz.front import HELLO, Headers, fronted, settle, unedited
from tests.fuzz.json_text import Make, array, either, obj, scalar, text, value, words
from tests.fuzz.running import Check
from tests.fuzz.tape import Tape
from tests.server.fake_engine import MODEL

MAIN = {
    "/v1/chat/completions": "messages",
    "/v1/completions": "prompt",
    "/v1/responses": "input",
    "/v1/messages": "messages",
}
"""The member that has the prompt, by route."""

RECORDED = {
    route.path: tuple(
        json.dumps({**body, "model": MODEL}) for body in route.bodies.values() if len(json.dumps(body)) < 2000
    )
    for route in (chat.ROUTE, completions.ROUTE, responses.ROUTE, messages.ROUTE)
}
"""Real requests, by route."""

_KINDS = (
    "text", "input_text", "output_text", "image_url", "tool_result", "tool_use", "thinking", "redacted_thinking",
    "refusal", "image", "document", "function_call", "function_call_output", "message", "reasoning", "custom_tool_call",
    "item_reference", "tool_reference",
)  # fmt: skip
_ROLES = (
    '"user"', '"user"', '"user"', '"assistant"', '"system"', '"tool"', '"developer"', '"function"', '"root"', "3",
    "null",
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """A body on its way.

    Args:
        policy: What it falls under.
        path: The route.
        headers: Names and values.
        parts: The body, as it comes.
    """

    policy: str
    path: str
    headers: Headers
    parts: tuple[bytes, ...]


@cache
def _contents() -> Make:
    named = "image_url content tool_use_id id name input thinking cache_control source is_error"
    part = obj(
        {"type": words(*map(json.dumps, _KINDS), "1", "null"), "text": text}, dict.fromkeys(named.split(), value), 2
    )
    return either(text, text, array(part, 2), value)


@cache
def _messages() -> Make:
    function = obj({"name": scalar, "arguments": text}, {"description": value}, 1)
    call = obj({"id": text, "type": text, "function": either(function, scalar)}, {}, 1)
    odd = "name tool_call_id reasoning reasoning_content call_id arguments output summary id refusal audio"
    sometimes = {
        **dict.fromkeys(odd.split(), value),
        "tool_calls": array(call, 2),
        "type": words(*map(json.dumps, _KINDS), "1"),
        "status": words('"in_progress"', '"completed"', "null", '"incomplete"'),
    }
    roles = words(*_ROLES)
    message = obj({"role": roles, "content": _contents()}, sometimes, 2)
    return either(array(message, 4), array(message, 4), array(message, 4), value)


@cache
def _tools() -> Make:
    members: dict[str, Make] = {"name": text, "description": scalar, "parameters": value, "input_schema": value}
    function = obj(members, {"strict": scalar}, 1)
    tool = obj({"type": words('"function"', '"custom"', "null"), "function": either(function, scalar)}, members, 3)
    return either(array(tool), scalar)


@cache
def _fields() -> dict[str, Make]:
    """What a body of any of the routes may have."""
    anything = (
        "n stop max_tokens temperature response_format seed logit_bias logprobs stream_options user store include "
        "unhitch chat_template add_generation_prompt continue_final_message add_special_tokens documents reasoning "
        "reasoning_effort thinking output_config instructions suffix echo prompt_embeds truncate_prompt_tokens "
        "truncation background previous_response_id chat_template_kwargs metadata cache_salt mm_processor_kwargs"
    )
    params = obj(
        {"prompt_token_ids": words("[1,2,3]", "[]", "null")}, {"unhitch": value, "do_remote_decode": scalar}, 2
    )
    return {
        **dict.fromkeys(anything.split(), value),
        "stream": words("true", "true", "false", "null", "1", '"yes"', "2", '"x"'),
        "tools": _tools(),
        "tool_choice": either(words('"auto"', '"none"', '{"type":"auto"}', '"required"'), value),
        "kv_transfer_params": either(params, value),
        "prompt_token_ids": words("[1,2,3]"),
        "return_token_ids": words("true", "false", "1", '"on"', "null"),
        "enable_response_messages": words("true", "false", "null"),
        "system": _contents(),
        "messages": _messages(),
        "prompt": either(words(json.dumps(HELLO["/v1/completions"]["prompt"]), "[1,2,3]"), text, value),
        "input": either(text, _messages()),
        "model": either(words(json.dumps(MODEL)), scalar),
    }


@cache
def _structured(path: str) -> Make:
    main = MAIN[path]
    return obj({"model": words(json.dumps(MODEL)), main: _fields()[main]}, _fields(), 2)


def body(tape: Tape, path: str) -> bytes:
    """A body for a route."""
    how = tape.number(15)
    if how == 15:
        return tape.bytes(tape.number(60))
    if how == 14:
        deep = js.nested(tape)
        return (deep if tape.rarely(3) else f'{{"model": "{MODEL}", "{MAIN[path]}": {deep}}}').encode()
    return js.encoded(tape, _structured(path)(tape) if how < 7 else js.mutated(tape, tape.one(RECORDED[path])))


def _headers(tape: Tape) -> Headers:
    if not tape.rarely(6):
        return [(b"content-type", b"application/json")]
    kinds = (b"text/plain", b"application/json; charset=utf-16", b"multipart/form-data", b"", b"application/x+json")
    codings = (b"gzip", b"identity", b"br", b"deflate, gzip")
    return [(b"content-type", tape.one(kinds)), *([(b"content-encoding", tape.one(codings))] * tape.number(1))]


def make(tape: Tape) -> Sent:
    """A request under a policy by which clients may choose, or under one that is locked."""
    path = tape.one(sorted(HELLO))
    headers, policy, cut = _headers(tape), tape.one(("locked", "guided")), tape.number(7)
    made = body(tape, path)
    parts = (made[:cut], made[cut:]) if 0 < cut < 3 else (made,)
    return Sent(policy, path, headers, parts)


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """Both proxies, before one engine."""
    async with AsyncExitStack() as stack:
        engine = await stack.enter_async_context(serving())
        fronts = {name: await stack.enter_async_context(fronted(engine, name)) for name in ("locked", "guided")}

        async def check(sent: Sent) -> str:
            answer, came = await fronts[sent.policy].ask("POST", sent.path.encode(), sent.headers, sent.parts)
            settle(answer, sent.path)
            assert not (bad := unedited(came, marked=True)), f"an unedited request reached the engine: {bad}"
            assert SECRET.encode() not in answer.body, answer.body
            if answer.status == 200:
                assert answer.header("unhitch-applied") != "off", answer.headers
            return str(answer.status)

        yield check
