"""The proxy's settings: checked once, at start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _checked_url(value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise ValueError(f"{value!r} is no http:// or https:// URL")
    return value.rstrip("/")


class Config(BaseModel):
    """What the proxy needs to know.

    The command line and the environment (`UNHITCH_...`) both fill it; see `unhitch serve --help`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

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
        default=None,
        description="Template file that the engine was started with, where it is not the checkpoint's own.",
    )
    chat_template_kwargs: Mapping[str, Any] = Field(
        default_factory=dict, description="The engine's --default-chat-template-kwargs, if it was given any."
    )
    allow_plugins: tuple[str, ...] = Field(default=(), description="Names of installed strategies that may be loaded.")
    max_body_bytes: int = Field(default=64 * 2**20, gt=0, description="Largest request body in bytes.")
    connect_timeout_seconds: float = Field(default=5.0, gt=0)
    probe_timeout_seconds: float = Field(default=30.0, gt=0, description="For the proxy's own requests to the engine.")
    rendering_check_every: int = Field(
        default=100,
        ge=1,
        description="One in so many mitigated requests is rendered by the engine too, beside its path, and compared.",
    )
