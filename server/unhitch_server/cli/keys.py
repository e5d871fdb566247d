"""`unhitch keys`: the keys that clients need."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

app = typer.Typer(help="The keys that clients need, where the proxy runs with a file of keys.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="What logs and rules call the key.")]
File = Annotated[Path, typer.Option("--file", envvar="UNHITCH_KEYS", metavar="FILE", help="The file of keys.")]


@app.command("add")
def add(
    name: Name,
    file: File,
    model: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A model that the key is for; a trailing * is any ending. All without it."),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A policy that the key is for; a trailing * is any ending. All without it."),
    ] = None,
    per_minute: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Requests a minute.")] = None,
    concurrent: Annotated[int | None, typer.Option(min=1, max=1_000_000, help="Requests at once.")] = None,
) -> None:
    """Makes a key and prints it, which happens once: the file keeps its hash only. The file is made if missing."""
    from unhitch_server.access import keyfile
    from unhitch_server.access.caller import EVERYTHING
    from unhitch_server.access.keys import Keys

    with keyfile.alone(file):
        keys, secret = (Keys.read(file) if file.exists() else Keys()).added(
            name,
            models=model or EVERYTHING,
            policies=policy or EVERYTHING,
            per_minute=per_minute,
            concurrent=concurrent,
        )
        keys.write(file)
    print(secret)
    _say(f"This is the key of {name}. It is shown this once; a running proxy takes it within seconds.")


@app.command("list")
def list_keys(file: File) -> None:
    """Lists the keys and what they are for. The keys themselves are not in the file."""
    from unhitch_server.access.keys import Keys

    table = Table()
    for heading in ("name", "created", "models", "policies", "a minute", "at once", "in force"):
        table.add_column(heading, overflow="fold")
    for key in Keys.read(file).all:
        cells = (
            key.name,
            _day(key.created),
            ", ".join(key.models) or "none",
            ", ".join(key.policies) or "none",
            "any" if key.per_minute is None else str(key.per_minute),
            "any" if key.concurrent is None else str(key.concurrent),
            "yes" if key.revoked is None else f"revoked {_day(key.revoked)}",
        )
        # As text, since names of models may look like rich's markup.
        table.add_row(*map(Text, cells), style=None if key.revoked is None else "dim")
    Console(highlight=False).print(table)


@app.command("revoke")
def revoke(name: Name, file: File) -> None:
    """Puts a key out of force; a running proxy refuses it within seconds, and lets its requests under way end."""
    from unhitch_server.access import keyfile
    from unhitch_server.access.keys import Keys

    with keyfile.alone(file):
        keys = Keys.read(file)
        after = keys.revoked(name)
        if after.all == keys.all:
            _say(f"The key {name} was revoked already.")
            return
        after.write(file)
    _say(f"The key {name} is revoked.")


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d}"


def _say(sentence: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(sentence, markup=False)
