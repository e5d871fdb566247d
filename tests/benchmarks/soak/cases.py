"""What is asked in the soak, and what each answer must say of itself; `/unhitch/v1/explain` is asked for the latter."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.benchmarks.soak.settings import ALIAS, MODEL, ROTATING, TEMPLATE_KWARGS
from unhitch import organisms
from unhitch.organisms import suite
from unhitch.rendering.checkpoint import Checkpoint
from unhitch.rendering.conversation import Conversation

CHAT, COMPLETIONS, RESPONSES, MESSAGES = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
)
ROUTES = (CHAT, COMPLETIONS, RESPONSES, MESSAGES)
MARK = "@number@"
"""Stands for a number that is another in each request."""
QUESTIONS = suite.held_out_general()[::30]
LENGTHS = (8, 16, 24, 32, 40, 48)
"""Most tokens of an answer, by question."""
MITIGATION, POLICY, SESSION = "Unhitch-Mitigation", "Unhitch-Policy", "Unhitch-Session"


@dataclass(frozen=True)
class Way:
    """One way of having a request mitigated.

    Args:
        name: For people.
        weight: Its share of all requests, in no unit.
        headers: What asks for it.
        explained: The headers with which the dry run shows the same, for each answer that may be given; those above
            where it is left out.
        model: The name that is asked for.
        fresh: Whether no two requests are alike, so that each is explained for itself.
    """

    name: str
    weight: float
    headers: dict[str, str] = field(default_factory=dict)
    explained: tuple[dict[str, str], ...] = ()
    model: str = MODEL
    fresh: bool = False


WAYS = (
    Way("off", 12, {MITIGATION: "off"}),
    Way("nothing asked", 5),
    Way("perturb", 15, {MITIGATION: "perturb;seed=3"}),
    Way("system", 10, {MITIGATION: "system;preset=neutral"}),
    Way("prefix-state", 20, {MITIGATION: "prefix-state"}),
    Way("perturb, prefix-state", 5, {MITIGATION: "perturb;seed=5;span=postfix, prefix-state"}),
    Way("policy", 8, {POLICY: "strict"}),
    Way("alias", 8, explained=({MITIGATION: "bare"},), model=ALIAS),
    Way("session", 8, {POLICY: "drawn", SESSION: '"conversation-1"'}),
    Way("rotating policy", 8, {POLICY: "rotating"}, tuple({MITIGATION: each} for each in ROTATING)),
    Way("drawn anew", 5, {POLICY: "drawn", SESSION: f'"conversation-{MARK}"'}, fresh=True),
)
BAD_WEIGHT = 5.0


@dataclass(frozen=True)
class Expected:
    """What an answer must say of itself.

    Args:
        applied: Its Unhitch-Applied.
        receipt: What its Unhitch-Receipt must hold; empty where it has none.
        token_ids: What the engine must say that it read.
    """

    applied: str
    receipt: tuple[str, ...]
    token_ids: list[int]


@dataclass(frozen=True)
class Case:
    """One request.

    Args:
        way: The name of its way, or of its fault.
        route: The path.
        stream: Whether a stream is asked for.
        headers: Besides the key.
        content: The body; `MARK` stands in it where it is fresh.
        weight: How often it is asked, in no unit.
        expected: What an answer may say of itself, one of these.
        status: What it is answered while the engine runs.
        code: Of the error object that is due.
        explain: The body of the dry run, where each request needs one of its own.
    """

    way: str
    route: str
    stream: bool
    headers: dict[str, str]
    content: str
    weight: float
    expected: tuple[Expected, ...] = ()
    status: int = 200
    code: str | None = None
    explain: str | None = None

    @classmethod
    def from_json(cls, fields: dict[str, Any]) -> Case:
        """What `dataclasses.asdict` made of it."""
        return cls(**{**fields, "expected": tuple(Expected(**each) for each in fields["expected"])})


def all_cases(client: httpx.Client, checkpoint: Checkpoint) -> list[Case]:
    """Every case, good and bad.

    Args:
        client: Asks the proxy with the control key.
        checkpoint: Of the base, for raw prompts.
    """
    return [*_good(client, checkpoint), *_bad()]


def open_checkpoint() -> Checkpoint:
    """The base's, which its adapter shares."""
    return Checkpoint.open(organisms.path("mini-base"))


def explanation(explained: dict[str, Any]) -> Expected:
    """What an answer must say of itself, by the dry run's answer.

    Raises:
        ValueError: The dry run shows no edit where it says that there is one.
    """
    applied = explained["applied"]
    before, after = ([token["token_id"] for token in explained[side]] for side in ("before", "after"))
    states = [part.split('"')[1] for part in applied.split(";") if part.startswith('state="')]
    if (applied == "off") != (before == after and not states):
        raise ValueError(f"{applied} is said of {before} and {after}")
    if applied == "off":
        return Expected(applied, (), after)
    named = [f'model="{MODEL}"', f"before=:{_digest(before)}:", f"after=:{_digest(after)}:"]
    if states:
        named.append(f"states=({' '.join(f':{_base64(bytes.fromhex(state))}:' for state in states)})")
    return Expected(applied, tuple(named), after)


def _good(client: httpx.Client, checkpoint: Checkpoint) -> Iterator[Case]:
    for way in WAYS:
        for question, length in zip(QUESTIONS, LENGTHS, strict=True):
            text = f"{question.text} {MARK}" if way.fresh else question.text
            explain = _body(CHAT, MODEL, text, length, checkpoint)
            asked = way.explained or (way.headers,)
            expected = () if way.fresh else tuple(_explained(client, explain, headers) for headers in asked)
            for route in ROUTES:
                for stream in (False, True):
                    yield Case(
                        way=way.name,
                        route=route,
                        stream=stream,
                        headers=way.headers,
                        content=json.dumps(_body(route, way.model, text, length, checkpoint) | {"stream": stream}),
                        weight=way.weight / (len(QUESTIONS) * len(ROUTES) * 2),
                        expected=expected,
                        explain=json.dumps(explain) if way.fresh else None,
                    )


def _bad() -> list[Case]:
    def bad(way: str, route: str, headers: dict[str, str], body: object, status: int, code: str) -> Case:
        content = body if isinstance(body, str) else json.dumps(body)
        return Case(way, route, False, headers, content, BAD_WEIGHT / 9, status=status, code=code)

    chat = {"model": MODEL, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}
    raw = {"model": MODEL, "prompt": "Once upon a time", "max_tokens": 8}
    bare, text = {MITIGATION: "bare"}, {"model": ALIAS, "input": "Hello", "max_output_tokens": 8}
    return [
        bad("malformed header", CHAT, {MITIGATION: "perturb;;"}, chat, 400, "invalid_header"),
        bad("unknown strategy", MESSAGES, {MITIGATION: "nonsense"}, chat, 400, "unknown_strategy"),
        bad("unknown policy", RESPONSES, {POLICY: "nobody"}, text | {"model": MODEL}, 400, "unknown_policy"),
        bad("unknown model", CHAT, bare, chat | {"model": "nobody"}, 404, "model_not_found"),
        bad("unknown key", MESSAGES, {"Authorization": "Bearer nobody"}, chat, 401, "invalid_api_key"),
        bad("locked policy", RESPONSES, {MITIGATION: "off"}, text, 403, "policy_locked"),
        bad("raw prompt of no template", COMPLETIONS, bare, raw, 422, "prompt_not_recognised"),
        bad("no JSON", CHAT, bare, '{"model":', 400, "invalid_body"),
        bad("no JSON, Anthropic's route", MESSAGES, bare, '{"model":', 400, "invalid_body"),
    ]


def _body(route: str, model: str, text: str, length: int, checkpoint: Checkpoint) -> dict[str, Any]:
    messages = [{"role": "user", "content": text}]
    common = {"model": model, "temperature": 0}
    if route == CHAT:
        return common | {"messages": messages, "max_tokens": length, "return_token_ids": True}
    if route == COMPLETIONS:
        fields = {"messages": messages, "chat_template_kwargs": TEMPLATE_KWARGS}
        conversation = Conversation.from_body(fields, content_format=checkpoint.content_format)
        prompt = checkpoint.render_text(conversation)
        return common | {"prompt": prompt, "max_tokens": length, "return_token_ids": True}
    if route == RESPONSES:
        echo = {"enable_response_messages": True, "store": False}
        return common | {"input": text, "max_output_tokens": length} | echo
    return common | {"messages": messages, "max_tokens": length}


def _explained(client: httpx.Client, body: dict[str, Any], headers: dict[str, str]) -> Expected:
    answer = client.post("/unhitch/v1/explain", json=body, headers=headers)
    if answer.status_code != 200:
        raise SystemExit(f"{headers} could not be explained: {answer.status_code} {answer.text}")
    return explanation(answer.json())


def _digest(token_ids: Sequence[int]) -> str:
    """SHA-256 over the ids as 32-bit integers, lowest byte first, as receipts have it."""
    return _base64(hashlib.sha256(b"".join(token.to_bytes(4, "little") for token in token_ids)).digest())


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
