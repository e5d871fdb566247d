"""`unhitch policy`: what the policy file says, before it is used."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from unhitch_server.cli import options
from unhitch_server.policy.document import Document, Policy, Rule

app = typer.Typer(help="The policy file.", no_args_is_help=True)


@app.callback()
def policy() -> None:
    """The policy file."""


@app.command("check")
def check(
    file: Annotated[Path, typer.Argument(help="The policy file.")],
    allow_plugin: options.Plugins = None,
) -> None:
    """Shows the policies, rules and aliases in a file, or all that is wrong with it.

    Variables of the environment that start with UNHITCH_POLICY__ count, as they do when the proxy runs.
    """
    from unhitch.registry import Registry
    from unhitch_server.policy.reload import PolicyFile

    document = PolicyFile(file, Registry.load(allow_plugin or ()), None, os.environ).read().document
    console = Console()
    for table in (_policies(document), _rules(document), _aliases(document), _upstreams(document)):
        if table.row_count:
            console.print(table)
    if not document.upstreams:
        console.print("No upstream is named here, so --upstream must name it.")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, title_justify="left", show_lines=True)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _policies(document: Document) -> Table:
    table = _table("policies", "name", "mitigation", "clients may", "besides")
    for name, each in document.policies.items():
        shown = f"{name} (default)" if name == document.default else name
        freedoms = [*each.clients_may, *(f"name {other}" for other in each.clients_may_name)]
        cells = (shown, each.mitigation, ", ".join(freedoms) or "change nothing", "\n".join(_besides(each)))
        table.add_row(*map(escape, cells))
    return table


def _besides(each: Policy) -> list[str]:
    """What is not as it is where nothing is said."""
    words = []
    if each.require_validated != "no":
        words.append(f"not validated: {each.require_validated}")
    if each.on_failure == "open":
        words.append("fails open")
    if each.unrecognised_prompts == "pass":
        words.append("unrecognised prompts pass")
    if each.rollout is not None:
        words.append(f"for {each.rollout.percent:g}% of sessions, {each.rollout.otherwise} for others")
    if each.shadow is not None:
        words.append(f"shadow: {each.shadow.mitigation} for {each.shadow.percent:g}% of requests")
    return words


def _rules(document: Document) -> Table:
    table = _table("rules, the first match decides", "", "keys", "models", "routes", "policy")
    for number, each in enumerate(document.rules):
        table.add_row(str(number), *map(escape, _patterns(each)), escape(each.policy))
    return table


def _patterns(each: Rule) -> list[str]:
    return ["all" if patterns is None else ", ".join(patterns) for patterns in (each.keys, each.models, each.routes)]


def _aliases(document: Document) -> Table:
    table = _table("aliases", "name", "model", "policy", "upstream")
    for name, each in document.models.items():
        cells = (name, each.model, each.policy or "by rules or default", each.upstream or document.main_upstream)
        table.add_row(*map(escape, cells))
    return table


def _upstreams(document: Document) -> Table:
    table = _table("upstreams", "name", "urls", "balance", "retries")
    for name, each in document.upstreams.items():
        table.add_row(*map(escape, (name, "\n".join(each.urls), each.balance, str(each.retries))))
    return table
