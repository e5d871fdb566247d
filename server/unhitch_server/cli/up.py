"""`unhitch up`: vLLM and the proxy together."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from unhitch_server.cli import options
from unhitch_server.cli.grouped import grouped
from unhitch_server.cli.proxy_options import Listening, LogLevel, ProxyOptions
from unhitch_server.network import free_port


@grouped
def up(
    model: Annotated[
        str, typer.Argument(help="A checkpoint (directory or hub id), a LoRA adapter, or a bundled organism.")
    ],
    vllm_arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- VLLM_ARGUMENTS]", help="Further arguments of vLLM, behind --.")
    ] = None,
    *,
    lora: Annotated[
        list[str] | None, typer.Option(metavar="NAME=PATH", help="A LoRA adapter to serve too. Can be repeated.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="The checkpoint that MODEL sits on, where MODEL is a LoRA adapter.")
    ] = None,
    chat_template: Annotated[
        str | None, typer.Option(help="A template file for vLLM and the proxy, in place of the checkpoint's own.")
    ] = None,
    states: Annotated[
        Path | None,
        typer.Option(
            envvar="UNHITCH_STATES",
            metavar="DIR",
            help="Folder of prefix states: loads unhitch's connector into vLLM, for prefix-state and postfix-state.",
        ),
    ] = None,
    engine_port: Annotated[
        int | None, typer.Option(help="vLLM's port on the loopback address; else a free one.")
    ] = None,
    proxy: ProxyOptions,
    listening: Listening,
    log_level: LogLevel = "warning",
) -> None:
    """Starts vLLM with the model and the proxy in front of it; Ctrl-C stops both."""
    from unhitch.engine import command, served
    from unhitch_server import serving

    found = served.find(model, base=base, adapters=options.pairs(lora, "--lora"))
    engine_port = engine_port or free_port()
    url = f"http://127.0.0.1:{engine_port}"
    server = listening.server(
        proxy.config(upstream=url, chat_template=options.template_source(chat_template)), log_level
    )
    template = ["--default-chat-template-kwargs", proxy.default_chat_template_kwargs]
    template += ["--chat-template", chat_template] if chat_template else []
    template += ["--exclude-tools-when-tool-choice-none"] if proxy.exclude_tools_when_tool_choice_none else []
    extra = [*template, *(vllm_arguments or ())]
    start = command.build(found, host="127.0.0.1", port=engine_port, states=states, extra=extra)
    console = Console(stderr=True, soft_wrap=True)
    with console.status(f"vLLM loads {found.name}") as status:

        def waiting(seconds: float) -> None:
            status.update(f"vLLM loads {found.name}: {seconds:.0f} s")

        async def ready() -> None:
            status.stop()
            names = ", ".join((found.name, *found.adapters))
            console.print(
                f"unhitch serves {names} at [bold]http://{listening.host}:{listening.port}/v1[/bold] (vLLM at {url})"
            )

        serving.run(serving.serve_with_engine(server, start, url, waiting=waiting, ready=ready), server)
