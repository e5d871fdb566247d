r"""The model provider `unhitch` for Inspect AI: a chat endpoint behind the proxy, with its receipts kept.

With it every task of Inspect's can be run under a mitigation:

    inspect eval inspect_evals/ifeval --model unhitch/tuned \
        --model-base-url http://localhost:8000/v1 -M mitigation=prefix-state
"""

from __future__ import annotations

from typing import Any

from inspect_ai.model import GenerateConfig, ModelOutput, modelapi
from inspect_ai.model._providers.openai_compatible import OpenAICompatibleAPI
from openai import APIStatusError
from openai.types.chat import ChatCompletion

from unhitch import headers as wire
from unhitch.errors import BadParameter, HeaderError, NotValidated, UnknownStrategy
from unhitch.evals.asking import ask, words
from unhitch.evals.harness.log import KEPT

_FATAL = frozenset(each.code for each in (HeaderError, UnknownStrategy, BadParameter, NotValidated))
"""What the proxy would say to every question alike."""


@modelapi(name="unhitch")
class UnhitchAPI(OpenAICompatibleAPI):
    """A served model behind the proxy.

    Args:
        model_name: The served name.
        base_url: Of the proxy, with /v1.
        api_key: For an endpoint that wants one.
        config: As Inspect gives it.
        mitigation: Value of the Unhitch-Mitigation header; a request's own `extra_headers` take precedence.
        model_args: As for Inspect's `openai-api` provider.
    """

    def __init__(
        self,
        model_name: str,
        base_url: str | None = None,
        api_key: str | None = None,
        config: GenerateConfig = GenerateConfig(),  # noqa: B008 - Inspect's own signature
        mitigation: str | None = None,
        **model_args: Any,
    ) -> None:
        self._mitigation = mitigation
        super().__init__(model_name, base_url, api_key or "unused", config, service="unhitch", **model_args)
        # Answers are cached by URL too, and the proxy's port may be another when a run goes on.
        self.base_url = None

    def initialize(self) -> None:
        """Makes the client, for the URL that was given first."""
        self._url = getattr(self, "_url", None) or self.base_url
        self.base_url = self._url
        super().initialize()
        self.base_url = None

    def service_model_name(self) -> str:
        """The served name, slashes included."""
        return str(self.model_name)

    def request_headers(self, config: GenerateConfig) -> dict[str, str]:
        """The headers of every request."""
        own = {} if self._mitigation is None else {wire.MITIGATION: self._mitigation}
        return {**super().request_headers(config), **own}

    def handle_bad_request(self, ex: APIStatusError) -> ModelOutput | Exception:
        """A question that is refused stays without an answer; a mitigation that nobody can have is an error."""
        if ex.code in _FATAL:
            return ex
        refused = ModelOutput.from_content(self.model_name, "", stop_reason="content_filter")  # so it is not kept
        refused.metadata = {KEPT: {"refused": words(ex)}}
        return refused

    async def generate(self, *args: Any, **kwargs: Any) -> Any:
        """As Inspect has it; adds what the proxy said it did."""
        result = await super().generate(*args, **kwargs)
        output, call = result if isinstance(result, tuple) else (result, None)
        if isinstance(output, ModelOutput) and KEPT not in (output.metadata or {}) and call is not None:
            response: Any = call.response or {}
            message = (response.get("choices") or [{}])[0].get("message") or {}
            kept = {"applied": response.get(wire.APPLIED), "tool_calls": message.get("tool_calls") or []}
            output.metadata = {**(output.metadata or {}), KEPT: kept}
        return result

    async def _generate_completion(self, request: dict[str, Any], _: GenerateConfig) -> ChatCompletion:
        completion, applied = await ask(self.client, request)
        setattr(completion, wire.APPLIED, applied)
        return completion
