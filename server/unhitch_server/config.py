"""The proxy's settings: checked once, at start."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from unhitch.rendering.conversation import Conversation
from unhitch.rendering.messages import ContentFormat
from unhitch_server.policy.url import EngineUrl

DRAIN_SECONDS = 30.0
"""How long requests under way may take to end once the proxy was asked to stop."""

WRITE_SECONDS = 120.0
"""How long a client may read nothing while an answer waits for it."""


class EngineRendering(BaseModel):
    """How the engine renders, beside the checkpoint's own template."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    chat_template_kwargs: Mapping[str, Any] = Field(
        default_factory=dict, description="The engine's --default-chat-template-kwargs, if it was given any."
    )
    exclude_tools_when_tool_choice_none: bool = Field(
        default=False, description="Whether the engine was started with its option of that name."
    )

    def conversation(self, body: Mapping[str, Any], content_format: ContentFormat) -> Conversation:
        """What the engine, started as these settings say, makes of a chat body.

        Raises:
            InvalidBody: The body is malformed.
            MitigationUnavailable: The body asks for what makes the engine ignore token ids.
        """
        return Conversation.from_body(
            body,
            content_format=content_format,
            default_template_kwargs=self.chat_template_kwargs,
            exclude_tools_when_tool_choice_none=self.exclude_tools_when_tool_choice_none,
        )


class Config(EngineRendering):
    """What the proxy needs to know; `unhitch serve --help` lists what the command line and the environment can set."""

    upstream: EngineUrl = Field(
        default="", description="Base URL of vLLM, without /v1; empty where a policy file names the engines."
    )
    policy_file: Path | None = Field(
        default=None, description="The operator's policies; then neither mitigation nor policies are set here."
    )
    key_file: Path | None = Field(default=None, description="The clients' keys; without it no key is asked for.")
    control_key: str | None = Field(default=None, repr=False, description="The operator's key, for control routes.")
    separate_caches: bool = Field(
        default=True, description="Whether what the engine has cached for one client's key is kept from the others'."
    )
    most_at_once: int | None = Field(default=None, ge=1, description="Requests under way over all clients.")
    shadow_file: Path | None = Field(
        default=None, description="Where requests and answers of shadow arms go; without it none is asked."
    )
    upstream_api_key: str | None = Field(default=None, repr=False, description="Key for the proxy's own probes.")
    mitigation: str = Field(
        default="off", description="What requests without a header get: the value of an Unhitch-Mitigation header."
    )
    policies: Mapping[str, str] = Field(
        default_factory=dict, description="Named policies: the value of an Unhitch-Mitigation header by name."
    )
    checkpoints: Mapping[str, str] = Field(
        default_factory=dict,
        description="Where a served model's tokenizer, template and weights lie, by its name; else as the engine says.",
    )
    chat_template: str | None = Field(
        default=None, description="Template that the engine was started with: its source; else the checkpoint's own."
    )
    allow_plugins: tuple[str, ...] = Field(default=(), description="Names of installed strategies that may be loaded.")
    scorer: str | None = Field(
        default=None, description="Judge that chooses between answers for `best-of`: exact, rated, or a plug-in's name."
    )
    scorer_url: str | None = Field(
        default=None, description="Base URL, with /v1, of the OpenAI-compatible endpoint that the scorer asks."
    )
    scorer_model: str | None = Field(default=None, description="The model that the scorer asks there.")
    scorer_api_key: str | None = Field(default=None, repr=False, description="Key for the scorer's endpoint.")
    evidence: tuple[str, ...] = Field(
        default=(), description="Folders of scorecards and pools, beside those that ship with unhitch."
    )
    bundled_evidence: bool = Field(
        default=True, description="Whether the evidence that ships with unhitch, on its miniature models, counts."
    )
    require_validated: Literal["no", "mark", "refuse"] = Field(
        default="no",
        description="Whether mitigated answers say what evidence there is (mark), and are refused without (refuse).",
    )
    max_body_bytes: int = Field(default=64 * 2**20, gt=0, description="Largest request body in bytes.")
    connect_timeout_seconds: float = Field(
        default=30.0, gt=0, description="A refused connection is known at once; a crowd of new ones takes its time."
    )
    probe_timeout_seconds: float = Field(default=30.0, gt=0, description="For the proxy's own requests to the engine.")
    recheck_seconds: float = Field(
        default=60.0,
        ge=0,
        description="How long the engine's models and rendering are taken to stay as seen.",
    )
    rendering_check_every: int = Field(
        default=100,
        ge=1,
        description="One in so many mitigated requests is rendered by the engine too, beside its path, and compared.",
    )
    most_states: int = Field(
        default=1000,
        ge=0,
        description="No more states are captured on first use where the engine has so many; their files stay.",
    )
