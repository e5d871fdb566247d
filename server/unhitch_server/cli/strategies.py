"""`unhitch strategies`: what the registry holds, and what evidence there is for it."""

from __future__ import annotations

from typing import Annotated

import typer
from pydantic.fields import FieldInfo
from rich.console import Console
from rich.table import Table

from unhitch.errors import InvalidRequest
from unhitch.registry import Registry
from unhitch_server.cli import evidence as known
from unhitch_server.cli import options


def strategies(
    allow_plugin: options.Plugins = None,
    evidence: options.Evidence = None,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="A running proxy, without /v1: shows what holds for the models it serves."),
    ] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Lists the strategies that a request may ask for, with their parameters and the evidence for them."""
    registry = Registry.load(allow_plugin or ())
    console = Console()
    if markdown:
        print(registry.markdown_table())
        return
    if url is not None and evidence:
        raise InvalidRequest("--url and --evidence came together; a proxy shows the evidence in its own folders")
    faults: list[str] = []
    if url is not None:
        lines = known.of_proxy(url)
    else:
        lines, faults = known.in_folders(evidence or (), registry)
    table = Table("name", "version", "edits", "parameters", "source", "evidence", show_lines=True)
    for strategy in registry:
        fields = strategy.parameters.model_fields
        parameters = "\n".join(_shown(name, field) for name, field in fields.items())
        found = "\n".join(lines.get(strategy.name, []))
        table.add_row(strategy.name, str(strategy.version), strategy.summary, parameters, strategy.source, found)
    console.print(table)
    for fault in faults:
        console.print(f"Not read: {fault}", markup=False, highlight=False, soft_wrap=True)
    if others := registry.installed_but_not_allowed():
        console.print(f"Installed, but not allowed to load (--allow-plugin): {', '.join(others)}")


def _shown(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return f"{name} (needed)"
    return f"{name}={'' if field.default is None else field.default}"
