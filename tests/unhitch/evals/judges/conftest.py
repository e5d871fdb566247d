"""A fake judge's endpoint on a loopback port, for tokenizers, probabilities and faults that no bundled model has."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web

from unhitch.evals.judges.rated import RatedJudge

MODEL = "a-judge"
KEY = "a-key"
Tokenizer = Callable[[str], list[str]]
MakeRated = Callable[..., RatedJudge]


def whole(text: str) -> list[str]:
    """Every number is a token."""
    return [text]


def digits(text: str) -> list[str]:
    """Every digit is a token."""
    return list(text)


@dataclass
class FakeEndpoint:
    """Answers as a judge would that has been set to.

    Attributes:
        aligned: Probability of each first token for the rating of alignment.
        coherent: The same for the rating of coherence.
        tokenizer: How it splits numbers.
        has_tokenize: Whether it has vLLM's route /tokenize.
        gives_logprobs: Whether its answers have any.
        says: Whole replies by a part of the prompt, for requests of more than one token.
        faults: Answers for the next chat requests, in order, instead of its own.
        always: An answer for all chat requests, instead of its own.
        requests: Bodies of the chat requests that came.
    """

    aligned: Mapping[str, float] = field(default_factory=lambda: {"90": 1.0})
    coherent: Mapping[str, float] = field(default_factory=lambda: {"90": 1.0})
    tokenizer: Tokenizer = whole
    has_tokenize: bool = True
    gives_logprobs: bool = True
    says: Mapping[str, str] = field(default_factory=dict)
    faults: list[web.Response] = field(default_factory=list)
    always: Callable[[dict[str, Any]], web.Response | None] = lambda body: None
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[Mapping[str, str]] = field(default_factory=list)
    url: str = ""

    @property
    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.requests]

    async def chat(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(request.headers)
        if self.faults:
            return self.faults.pop(0)
        if (answer := self.always(body)) is not None:
            return answer
        if body["model"] != MODEL:
            return fault(404, f"The model `{body['model']}` does not exist.")
        return self._complete(body)

    async def tokenize(self, request: web.Request) -> web.Response:
        if not self.has_tokenize:
            return fault(404, "Not Found")
        tokens = self.tokenizer((await request.json())["prompt"])
        return web.json_response({"count": len(tokens), "max_model_len": 4096, "tokens": list(range(len(tokens)))})

    async def models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": MODEL, "object": "model"}]})

    def _complete(self, body: dict[str, Any]) -> web.Response:
        prompt, short = body["messages"][0]["content"], body["max_tokens"] == 1
        probabilities = self._first(prompt)
        text = max(probabilities, key=lambda token: probabilities[token])
        if not short:
            text = next((said for part, said in self.says.items() if part in prompt), text)
        logprobs = entries(probabilities) if self.gives_logprobs and body.get("logprobs") else None
        return completion(text, logprobs, finish="length" if short else "stop")

    def _first(self, prompt: str) -> Mapping[str, float]:
        if prompt.startswith("Reply with the number "):
            return {self.tokenizer(prompt.split()[4])[0]: 1.0}
        return self.coherent if "how coherent" in prompt else self.aligned


def entries(probabilities: Mapping[str, float]) -> dict[str, Any]:
    """The member `logprobs` of a choice of one token."""
    top = [
        {"token": token, "logprob": math.log(share), "bytes": list(token.encode())}
        for token, share in probabilities.items()
    ]
    return {"content": [{**top[0], "top_logprobs": top}]}


def completion(text: str | None, logprobs: dict[str, Any] | None = None, *, finish: str = "stop") -> web.Response:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    return web.json_response(
        {"id": "1", "object": "chat.completion", "model": MODEL, "choices": [{**choice, "logprobs": logprobs}]}
    )


def fault(status: int, message: str, **headers: str) -> web.Response:
    error = {"message": message, "type": "error", "param": None, "code": status}
    return web.Response(
        status=status, body=json.dumps({"error": error}), content_type="application/json", headers=headers
    )


@pytest.fixture
async def endpoint() -> AsyncIterator[FakeEndpoint]:
    fake = FakeEndpoint()
    application = web.Application()
    application.router.add_post("/v1/chat/completions", fake.chat)
    application.router.add_post("/tokenize", fake.tokenize)
    application.router.add_get("/v1/models", fake.models)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    fake.url = f"http://{host}:{port}"
    yield fake
    await runner.cleanup()


@pytest.fixture
async def rated(endpoint: FakeEndpoint) -> AsyncIterator[MakeRated]:
    """Makes judges that ask the fake endpoint, and closes them."""
    made: list[RatedJudge] = []

    def make(model: str = MODEL, *, url: str = "", max_retries: int = 1, timeout_seconds: float = 5.0) -> RatedJudge:
        judge = RatedJudge(url or endpoint.url, model, KEY, max_retries=max_retries, timeout_seconds=timeout_seconds)
        made.append(judge)
        return judge

    yield make
    for judge in made:
        await judge.close()
