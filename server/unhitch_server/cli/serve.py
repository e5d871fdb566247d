"""`unhitch serve`: the proxy, in front of a running vLLM."""

from __future__ import annotations

from typing import Annotated

import typer

from unhitch_server.cli import options
from unhitch_server.config import DRAIN_SECONDS, WRITE_SECONDS


def serve(
    upstream: Annotated[
        str | None,
        typer.Option(envvar="UNHITCH_UPSTREAM", help="Base URL of vLLM, without /v1; else the policy file names it."),
    ] = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    mitigation: options.Mitigation = "off",
    policy: options.Policies = None,
    checkpoint: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PATH",
            envvar="UNHITCH_CHECKPOINT",
            help="Where the files of a served model lie here, if not where the engine says. Can be repeated.",
        ),
    ] = None,
    chat_template: Annotated[
        str | None,
        typer.Option(envvar="UNHITCH_CHAT_TEMPLATE", help="The template file that vLLM was started with, if any."),
    ] = None,
    default_chat_template_kwargs: options.TemplateKwargs = "{}",
    exclude_tools_when_tool_choice_none: options.ExcludeTools = False,
    upstream_api_key: Annotated[
        str | None,
        typer.Option(envvar="UNHITCH_UPSTREAM_API_KEY", help="vLLM's --api-key, for the proxy's own probes."),
    ] = None,
    allow_plugin: options.Plugins = None,
    evidence: options.Evidence = None,
    bundled_evidence: options.BundledEvidence = True,
    require_validated: options.RequireValidated = "no",
    scorer: options.Scorer = None,
    scorer_url: options.ScorerUrl = None,
    scorer_model: options.ScorerModel = None,
    policy_file: options.PolicyFile = None,
    keys: options.KeyFile = None,
    separate_caches: options.SeparateCaches = True,
    most_at_once: options.MostAtOnce = None,
    shadow_file: options.ShadowFile = None,
    max_body_bytes: options.MaxBodyBytes = options.MAX_BODY_BYTES,
    drain_seconds: options.DrainSeconds = DRAIN_SECONDS,
    write_seconds: options.WriteSeconds = WRITE_SECONDS,
    linger_seconds: Annotated[
        float,
        typer.Option(
            envvar="UNHITCH_LINGER_SECONDS",
            min=0,
            help="How long it goes on accepting after SIGTERM, while /readyz is 503: for load balancers to see it.",
        ),
    ] = 0.0,
    log_level: options.LogLevel = "info",
) -> None:
    """Serves the proxy in front of a running vLLM."""
    from unhitch_server import serving

    config = options.settings(
        **({} if upstream is None else {"upstream": upstream}),
        upstream_api_key=upstream_api_key,
        mitigation=mitigation,
        policies=options.pairs(policy, "--policy"),
        checkpoints=options.pairs(checkpoint, "--checkpoint"),
        chat_template=options.template_source(chat_template),
        exclude_tools_when_tool_choice_none=exclude_tools_when_tool_choice_none,
        chat_template_kwargs=options.template_kwargs(default_chat_template_kwargs),
        allow_plugins=tuple(allow_plugin or ()),
        evidence=options.folders(evidence),
        bundled_evidence=bundled_evidence,
        require_validated=require_validated,
        max_body_bytes=max_body_bytes,
        **options.operation(policy_file, keys, most_at_once, shadow_file, separate_caches=separate_caches),
        **options.scorer_settings(scorer, scorer_url, scorer_model),
    )
    proxy = serving.server(
        config,
        host=host,
        port=port,
        log_level=log_level,
        drain_seconds=drain_seconds,
        write_seconds=write_seconds,
    )
    serving.run(serving.serve_alone(proxy, linger_seconds=linger_seconds), proxy)
