"""`unhitch up`: vLLM and the proxy together."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from unhitch_server.cli import options
from unhitch_server.config import DRAIN_SECONDS, WRITE_SECONDS
from unhitch_server.network import free_port


def up(
    model: Annotated[
        str, typer.Argument(help="A checkpoint (directory or hub id), a LoRA adapter, or a bundled organism.")
    ],
    vllm_arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM_ARGUMENTS]", help="Further arguments of vLLM, behind --.")
    ] = None,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A LoRA adapter to serve too. Can be repeated.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The checkpoint that MODEL sits on, where MODEL is a LoRA adapter.")
    ] = None,
    host: options.Host = "127.0.0.1",
    port: options.Port = 8000,
    chat_template: Annotated[
        str | None, typer.Option(help="A template file for vLLM and the proxy, in place of the checkpoint's own.")
    ] = None,
    default_chat_template_kwargs: options.TemplateKwargs = "{}",
    exclude_tools_when_tool_choice_none: options.ExcludeTools = False,
    states: options.States = None,
    engine_port: Annotated[
        int | None, typer.Option(help="vLLM's port on the loopback address; else a free one.")
    ] = None,
    mitigation: options.Mitigation = "off",
    policy: options.Policies = None,
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
    log_level: options.LogLevel = "warning",
) -> None:
    """Starts vLLM with the model and the proxy in front of it; Ctrl-C stops both."""
    from unhitch.engine import command, served
    from unhitch_server import serving

    found = served.find(model, base=base, adapters=options.pairs(lora, "--lora"))
    engine_port = engine_port or free_port()
    url = f"http://127.0.0.1:{engine_port}"
    config = options.settings(
        upstream=url,
        mitigation=mitigation,
        policies=options.pairs(policy, "--policy"),
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
    template = ["--default-chat-template-kwargs", default_chat_template_kwargs]
    template += ["--chat-template", chat_template] if chat_template else []
    template += ["--exclude-tools-when-tool-choice-none"] if exclude_tools_when_tool_choice_none else []
    extra = [*template, *(vllm_arguments or ())]
    start = command.build(found, host="127.0.0.1", port=engine_port, states=states, extra=extra)
    console = Console(stderr=True, soft_wrap=True)
    with console.status(f"vLLM loads {found.name}") as status:

        def waiting(seconds: float) -> None:
            status.update(f"vLLM loads {found.name}: {seconds:.0f} s")

        async def ready() -> None:
            status.stop()
            names = ", ".join((found.name, *found.adapters))
            console.print(f"unhitch serves {names} at [bold]http://{host}:{port}/v1[/bold] (vLLM at {url})")

        serving.run(serving.serve_with_engine(proxy, start, url, waiting=waiting, ready=ready), proxy)
