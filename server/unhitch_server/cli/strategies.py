"""`unhitch strategies`: what the registry holds."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from unhitch.registry import Registry
from unhitch_server.cli import options


def strategies(
    allow_plugin: options.Plugins = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the table as Markdown.")] = False,
) -> None:
    """Lists the strategies that a request may ask for, with their parameters."""
    registry = Registry.load(allow_plugin or ())
    console = Console()
    if markdown:
        print(registry.markdown_table())
        return
    table = Table("name", "version", "edits", "parameters", "source", show_lines=True)
    for strategy in registry:
        fields = strategy.parameters.model_fields
        parameters = "\n".join(f"{name}={_shown(field.default)}" for name, field in fields.items())
        table.add_row(strategy.name, str(strategy.version), strategy.summary, parameters, strategy.source)
    console.print(table)
    if others := registry.installed_but_not_allowed():
        console.print(f"Installed, but not allowed to load (--allow-plugin): {', '.join(others)}")


def _shown(default: object) -> str:
    return "" if default is None else str(default)
