"""`unhitch serve`: the proxy, in front of a running vLLM."""

from __future__ import annotations

from typing import Annotated

import typer

from unhitch_server.cli import options
from unhitch_server.cli.grouped import grouped
from unhitch_server.cli.proxy_options import Listening, LogLevel, ProxyOptions


@grouped
def serve(
    *,
    upstream: Annotated[
        str | None,
        typer.Option(envvar="UNHITCH_UPSTREAM", help="Base URL of vLLM, without /v1; else the policy file names it."),
    ] = None,
    upstream_api_key: Annotated[
        str | None,
        typer.Option(envvar="UNHITCH_UPSTREAM_API_KEY", help="vLLM's --api-key, for the proxy's own probes."),
    ] = None,
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
    proxy: ProxyOptions,
    listening: Listening,
    linger_seconds: Annotated[
        float,
        typer.Option(
            envvar="UNHITCH_LINGER_SECONDS",
            min=0,
            help="How long it goes on accepting after SIGTERM, while /readyz is 503: for load balancers to see it.",
        ),
    ] = 0.0,
    log_level: LogLevel = "info",
) -> None:
    """Serves the proxy in front of a running vLLM."""
    from unhitch_server import serving

    config = proxy.config(
        **({} if upstream is None else {"upstream": upstream}),
        upstream_api_key=upstream_api_key,
        checkpoints=options.pairs(checkpoint, "--checkpoint"),
        chat_template=options.template_source(chat_template),
    )
    server = listening.server(config, log_level)
    serving.run(serving.serve_alone(server, linger_seconds=linger_seconds), server)
