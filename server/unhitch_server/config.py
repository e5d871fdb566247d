"""The proxy's settings: checked once, at start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field
from yarl import URL

from unhitch.rendering.conversation import Conversation
from unhitch.rendering.messages import ContentFormat


def _checked_url(value: str) -> str:
    try:
        url = URL(value)
        sound = url.scheme in ("http", "https") and url.host and url.port and not (url.query_string or url.fragment)
    except ValueError as error:
        raise ValueError(f"{value!r} is no URL: {error}") from error
    if not sound or url.user or any(character.isspace() for character in value):
        raise ValueError(f"{value!r} is no http:// or https:// URL of a host, without query and user")
    return value.rstrip("/")


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

    upstream: Annotated[str, AfterValidator(_checked_url)] = Field(description="Base URL of vLLM, without /v1.")
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
