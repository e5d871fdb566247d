"""Asks one question of a model behind the proxy: what counts as an answer, and why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from openai import APIStatusError, AsyncOpenAI
from openai.types.chat import ChatCompletion

from unhitch import headers as wire
from unhitch.errors import MitigationUnconfirmed
from unhitch.states.patch import FIELD


class Answered(NamedTuple):
    """An answer, and the Unhitch-Applied header that came with it; empty where there was none."""

    completion: ChatCompletion
    applied: str


async def ask(client: AsyncOpenAI, request: Mapping[str, Any]) -> Answered:
    """Asks once; nothing is retried as unmitigated.

    Args:
        client: Of the proxy.
        request: Arguments of the client's `chat.completions.create`. States that `extra_body` names past the proxy's
            strategies have to be confirmed by the engine.

    Raises:
        openai.APIError: The proxy or the engine refused or failed; `words` says why it refused.
        MitigationUnconfirmed: The engine did not confirm the states.
    """
    raw = await client.chat.completions.with_raw_response.create(**request)
    completion: ChatCompletion = raw.parse()
    asked = _ours((request.get("extra_body") or {}).get("kv_transfer_params"))
    if asked and _ours(getattr(completion, "kv_transfer_params", None)) != asked:
        raise MitigationUnconfirmed(f"the engine did not confirm {asked!r}; was it started with unhitch's connector?")
    return Answered(completion, raw.headers.get(wire.APPLIED, ""))


def words(error: APIStatusError) -> str:
    """The proxy's own words in an error."""
    body = error.body
    return str(body.get("message", error.message)) if isinstance(body, dict) else error.message


def _ours(params: Mapping[str, Any] | None) -> Any:
    return (params or {}).get(FIELD)
