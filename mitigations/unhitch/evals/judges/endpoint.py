"""An OpenAI-compatible endpoint as a rating judge needs it: one prompt, one short reply, and its likeliest tokens."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import openai
from openai import AsyncOpenAI, DefaultAsyncHttpxClient
from pydantic import BaseModel, Field, ValidationError

from unhitch.errors import JudgeError

TOP_LOGPROBS = 20
"""The most that the API gives."""

_REJECTED = (400, 422, 501)
_SHOWN_CHARACTERS = 300


class Token(BaseModel):
    """A token and the natural logarithm of its probability."""

    token: str
    logprob: float


class _Position(BaseModel):
    top_logprobs: list[Token] = Field(default_factory=list)


class _Logprobs(BaseModel):
    content: list[_Position] | None = None


class _Message(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: str | None = None
    logprobs: _Logprobs | None = None


class Reply(BaseModel):
    """What is read of a chat completion; all else is passed over."""

    choices: list[_Choice] = Field(min_length=1)

    @property
    def text(self) -> str:
        """What was said; empty where nothing was."""
        return self.choices[0].message.content or ""

    @property
    def cut(self) -> bool:
        """Whether it broke off at the limit of tokens."""
        return self.choices[0].finish_reason == "length"

    @property
    def first(self) -> list[tuple[str, float]] | None:
        """The likeliest first tokens with their log probabilities; None where the endpoint gives none at all."""
        logprobs = self.choices[0].logprobs
        if logprobs is None or logprobs.content is None:
            return None
        return [(each.token, each.logprob) for position in logprobs.content[:1] for each in position.top_logprobs]


class Endpoint:
    """A model behind an OpenAI-compatible endpoint, asked greedily.

    Args:
        url: Base URL as OpenAI's client takes it, such as "https://example.org/v1"; a bare host gets "/v1".
        model: The served name.
        api_key: Sent as the bearer token; any, where the endpoint needs none.
        max_retries: Further tries after 408, 409, 429, 5xx and broken connections, with growing pauses.
        timeout_seconds: Longest wait for one reply.

    Raises:
        JudgeError: `url` is no URL of http or https.
    """

    def __init__(self, url: str, model: str, *, api_key: str | None, max_retries: int, timeout_seconds: float) -> None:
        self.url, self.model = _base(url), model
        # A proxy of the environment does not lead to this very machine.
        http = DefaultAsyncHttpxClient(trust_env=not _is_loopback(self.url))
        self._client = AsyncOpenAI(
            base_url=self.url,
            api_key=api_key or "unused",
            max_retries=max_retries,
            timeout=timeout_seconds,
            http_client=http,
        )

    async def ask(self, prompt: str, *, max_tokens: int, logprobs: bool) -> Reply:
        """The reply to one message of the user's.

        Raises:
            JudgeError: The endpoint cannot be reached, refuses, fails for good, or answers what is no chat completion.
        """
        body: dict[str, Any] = {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "temperature": 0,
        }
        if logprobs:
            body |= {"logprobs": True, "top_logprobs": TOP_LOGPROBS}
        try:
            return Reply.model_validate(await self._post("/chat/completions", body))
        except openai.OpenAIError as error:
            raise await self._failure(error) from error
        except ValueError as error:  # no JSON, or JSON of another shape
            raise JudgeError(
                f"{self.url} answered something that is no chat completion ({_reason(error)}). Is it the base URL of "
                "an OpenAI-compatible endpoint?"
            ) from error

    async def token_count(self, text: str) -> int | None:
        """How many tokens the model's tokenizer makes of a text; None where the endpoint has no /tokenize as vLLM's."""
        url = f"{self.url.removesuffix('/v1')}/tokenize"
        body = {"model": self.model, "prompt": text, "add_special_tokens": False}
        try:
            answer = await self._post(url, body)
        except (openai.OpenAIError, ValueError):
            return None
        count = answer.get("count") if isinstance(answer, dict) else None
        return count if isinstance(count, int) else None

    async def close(self) -> None:
        """Closes its connections."""
        await self._client.close()

    async def _post(self, url: str, body: Mapping[str, Any]) -> object:
        return await self._client.post(url, body=body, cast_to=object)

    async def _failure(self, error: openai.OpenAIError) -> JudgeError:
        what = f"the judge's endpoint {self.url}"
        if isinstance(error, openai.APIConnectionError):
            return JudgeError(
                f"{what} cannot be reached ({error.__cause__ or error}). Is it running, and the URL right?"
            )
        if not isinstance(error, openai.APIStatusError):
            return JudgeError(f"{what} failed: {_reason(error)}")
        said = f"{error.status_code}: {_reason(error)}"
        if isinstance(error, openai.NotFoundError):
            return JudgeError(f"{what} does not serve the model {self.model!r} ({said}). {await self._served()}")
        if isinstance(error, openai.AuthenticationError | openai.PermissionDeniedError):
            return JudgeError(f"{what} refused the API key ({said}). Give the judge's own key.")
        if error.status_code in _REJECTED:
            return JudgeError(f"{what} rejected the request ({said}). Use a judge that takes it.")
        return JudgeError(f"{what} failed after {self._client.max_retries + 1} tries ({said}). Try again later.")

    async def _served(self) -> str:
        try:
            names = [model.id async for model in self._client.models.list()]
        except (openai.OpenAIError, ValueError, TypeError, AttributeError):
            return "Is the URL right? It does not list its models either."
        return f"It serves: {', '.join(names[:20]) or 'none'}."


def rejected(error: JudgeError) -> bool:
    """Whether an endpoint understood a request but does not take it as it is: it may take a plainer one."""
    cause = error.__cause__
    return isinstance(cause, openai.APIStatusError) and cause.status_code in _REJECTED


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise JudgeError(f"{url!r} is no URL of a judge's endpoint; give one such as http://127.0.0.1:8000/v1")
    base = url.rstrip("/")
    return base if parts.path.strip("/") else f"{base}/v1"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(str(part) for part in first["loc"])
        return f"{place}: {first['msg']}" if place else str(first["msg"])
    text = error.message if isinstance(error, openai.APIError) else str(error)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]} ..."
