"""The options of `unhitch serve` and `unhitch up` for the proxy itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from unhitch_server.cli import options
from unhitch_server.config import DRAIN_SECONDS, WRITE_SECONDS, Config

if TYPE_CHECKING:
    from unhitch_server.serving import Server

LogLevel = Annotated[Literal["debug", "info", "warning", "error"], typer.Option(envvar="UNHITCH_LOG_LEVEL")]


@dataclass(frozen=True)
class Listening:
    """Where the proxy listens, and how patient it is with clients."""

    host: Annotated[str, typer.Option(envvar="UNHITCH_HOST", help="Address to listen on.")] = "127.0.0.1"
    port: options.Port = 8000
    drain_seconds: Annotated[
        float,
        typer.Option(
            envvar="UNHITCH_DRAIN_SECONDS", min=0, help="How long requests may take to end once the proxy is to stop."
        ),
    ] = DRAIN_SECONDS
    write_seconds: Annotated[
        float,
        typer.Option(
            envvar="UNHITCH_WRITE_SECONDS",
            min=1,
            help="A client that reads nothing of its answer for so long is dropped.",
        ),
    ] = WRITE_SECONDS

    def server(self, config: Config, log_level: str) -> Server:
        """See `serving.server`."""
        from unhitch_server import serving

        return serving.server(
            config,
            host=self.host,
            port=self.port,
            log_level=log_level,
            drain_seconds=self.drain_seconds,
            write_seconds=self.write_seconds,
        )


@dataclass(frozen=True)
class ProxyOptions:
    """What the proxy does to requests, for whom, and within what limits."""

    default_chat_template_kwargs: options.TemplateKwargs = "{}"
    exclude_tools_when_tool_choice_none: Annotated[
        bool,
        typer.Option(
            "--exclude-tools-when-tool-choice-none",
            envvar="UNHITCH_EXCLUDE_TOOLS_WHEN_TOOL_CHOICE_NONE",
            help="Set it where vLLM has its option of that name.",
        ),
    ] = False
    mitigation: Annotated[
        str,
        typer.Option(
            envvar="UNHITCH_MITIGATION",
            help="What requests without a header get, as an Unhitch-Mitigation header has it: 'perturb;seed=7'.",
        ),
    ] = "off"
    policy: Annotated[
        list[str] | None,
        typer.Option("--policy", metavar="NAME=MITIGATION", help="A policy that requests may name. Can be repeated."),
    ] = None
    allow_plugin: options.Plugins = None
    evidence: options.Evidence = None
    bundled_evidence: Annotated[
        bool,
        typer.Option(
            "--bundled-evidence/--no-bundled-evidence",
            envvar="UNHITCH_BUNDLED_EVIDENCE",
            help="Whether the evidence that ships with unhitch, on its miniature models, counts.",
        ),
    ] = True
    require_validated: Annotated[
        Literal["no", "mark", "refuse"],
        typer.Option(
            envvar="UNHITCH_REQUIRE_VALIDATED",
            help="mark: mitigated answers say in Unhitch-Evidence whether a scorecard that holds for the model passes. "
            "refuse: requests without one are refused.",
        ),
    ] = "no"
    scorer: Annotated[
        str | None,
        typer.Option(
            envvar="UNHITCH_SCORER",
            metavar="NAME",
            help="The judge that chooses between answers for best-of: exact, rated, or an installed one of a third "
            "party. The key for its endpoint stands in UNHITCH_SCORER_API_KEY.",
        ),
    ] = None
    scorer_url: Annotated[
        str | None,
        typer.Option(envvar="UNHITCH_SCORER_URL", help="The OpenAI-compatible endpoint that the scorer asks."),
    ] = None
    scorer_model: Annotated[
        str | None, typer.Option(envvar="UNHITCH_SCORER_MODEL", help="The model that the scorer asks there.")
    ] = None
    policy_file: Annotated[
        Path | None,
        typer.Option(
            envvar="UNHITCH_POLICY_FILE",
            metavar="FILE",
            help="The operator's policies (`unhitch policy check FILE`); read again when it changes, and on SIGHUP.",
        ),
    ] = None
    keys: Annotated[
        Path | None,
        typer.Option(
            "--keys",
            envvar="UNHITCH_KEYS",
            metavar="FILE",
            help="The clients' keys (`unhitch keys add`). The operator's own key, for control routes, stands in "
            "UNHITCH_CONTROL_KEY.",
        ),
    ] = None
    separate_caches: Annotated[
        bool,
        typer.Option(
            "--separate-caches/--shared-cache",
            envvar="UNHITCH_SEPARATE_CACHES",
            help="With --keys: whether each key has vLLM's prefix cache for itself (a cache_salt in each request), so "
            "that no client can tell by the time to the first token what another's prompt begins with.",
        ),
    ] = True
    most_at_once: Annotated[
        int | None,
        typer.Option(
            envvar="UNHITCH_MOST_AT_ONCE", min=1, help="Requests under way over all clients; others get a 503."
        ),
    ] = None
    shadow_file: Annotated[
        Path | None,
        typer.Option(
            envvar="UNHITCH_SHADOW_FILE",
            metavar="FILE",
            help="Where prompts and answers of the policies' shadow arms are written, as JSON lines.",
        ),
    ] = None
    max_body_bytes: Annotated[
        int, typer.Option(envvar="UNHITCH_MAX_BODY_BYTES", min=1, help="Largest request body in bytes.")
    ] = Config.model_fields["max_body_bytes"].default

    def config(self, **more: object) -> Config:
        """The proxy's settings. Keys come from the environment alone, so that no list of processes shows them.

        Args:
            more: Settings that are the command's own.

        Raises:
            InvalidRequest: A value is out of its range; the message names it.
        """
        return options.settings(
            chat_template_kwargs=options.template_kwargs(self.default_chat_template_kwargs),
            exclude_tools_when_tool_choice_none=self.exclude_tools_when_tool_choice_none,
            mitigation=self.mitigation,
            policies=options.pairs(self.policy, "--policy"),
            allow_plugins=tuple(self.allow_plugin or ()),
            evidence=options.folders(self.evidence),
            bundled_evidence=self.bundled_evidence,
            require_validated=self.require_validated,
            scorer=self.scorer,
            scorer_url=self.scorer_url,
            scorer_model=self.scorer_model,
            scorer_api_key=os.environ.get("UNHITCH_SCORER_API_KEY") or None,
            policy_file=self.policy_file,
            key_file=self.keys,
            control_key=os.environ.get("UNHITCH_CONTROL_KEY") or None,
            separate_caches=self.separate_caches,
            most_at_once=self.most_at_once,
            shadow_file=self.shadow_file,
            max_body_bytes=self.max_body_bytes,
            **more,
        )
