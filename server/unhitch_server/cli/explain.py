"""`unhitch explain`: the anatomy of one prompt and what a strategy would make of it; nothing is generated."""

from __future__ import annotations

from difflib import SequenceMatcher
from itertools import zip_longest
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from unhitch.errors import StateMissing
from unhitch_server.cli import options

COLOURS = {"query": "white", "postfix": "magenta"}
"""All else lies in the prefix."""

_NO_CELL = ("", "", "")
_SHOWN_DIGITS = 12
"""Of a state's id; `applied` has all of them."""


def explain(
    model: Annotated[str, typer.Argument(help="A checkpoint's directory, an adapter, or a bundled organism.")],
    query: Annotated[str, typer.Argument(help="What the user says.")],
    mitigation: Annotated[str, typer.Option(help="As an Unhitch-Mitigation header has it.")] = "off",
    system: Annotated[str | None, typer.Option(help="A system message before it.")] = None,
    base: Annotated[str | None, typer.Option(help="The checkpoint that an adapter sits on.")] = None,
    session: Annotated[str | None, typer.Option(help="Keys the draw, as an Unhitch-Session header does.")] = None,
    states: Annotated[
        Path | None,
        typer.Option(envvar="UNHITCH_STATES", metavar="DIR", help="Folder that strategies find their states in."),
    ] = None,
    evidence: options.Evidence = None,
    allow_plugin: options.Plugins = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what /unhitch/v1/explain answers.")] = False,
) -> None:
    """Shows the prompt token by token, before and after a strategy."""
    import json

    from unhitch import headers as wire
    from unhitch.engine import served
    from unhitch.registry import Registry
    from unhitch.rendering.checkpoint import Checkpoint
    from unhitch_server.cli.evidence import view_of
    from unhitch_server.config import EngineRendering
    from unhitch_server.control.explain import explanation
    from unhitch_server.policy.decision import Decision
    from unhitch_server.routes.chat import ChatRequest
    from unhitch_server.states.folder import shelf_of

    what = served.find(model, base=base)
    name = next(iter(what.adapters), what.name)  # as `unhitch up` serves it, since the name keys the draw
    messages = [{"role": "system", "content": system}] if system is not None else []
    body = {"model": name, "messages": [*messages, {"role": "user", "content": query}]}
    checkpoint = Checkpoint.open(what.model)
    registry = Registry.load(allow_plugin or ())
    steps = registry.bind(wire.parse_mitigation(mitigation))
    chat = ChatRequest.parse(json.dumps(body).encode("utf-8"))
    shelf = None if states is None else shelf_of(states, what)
    view = None if evidence is None else view_of(evidence, registry, what, name, checkpoint)
    decision = Decision(steps, session, view)
    try:
        mitigated = chat.edit(checkpoint, decision, EngineRendering(), shelf)
    except StateMissing as missing:
        if shelf is not None:
            raise
        raise missing.because("Name the folder of states with --states.") from None
    found = explanation(name, mitigated, None if view is None or decision.off else view.evidence(steps))
    console = Console()
    if as_json:
        print(json.dumps(found, indent=2, ensure_ascii=False))
        return
    console.print(f"applied: {found['applied']}", highlight=False, markup=False, soft_wrap=True)
    if found["evidence"] is not None:
        console.print(
            f"evidence: {found['evidence']['status']}: {found['evidence']['sentence']}",
            highlight=False,
            markup=False,
            soft_wrap=True,
        )
    console.print(_table(found["before"], found["after"]))


def _table(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> Table:
    """Both prompts side by side, equal tokens on one line; edited ones stand out, and those that a state serves."""
    states = any(token["state"] for token in after)
    table = Table("part", "before", "", "after", "", *(["K/V"] if states else []))
    old, new = [_cell(token) for token in before], [_cell(token) for token in after]
    for kind, start, stop, from_, to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        served = [token["state"] for token in after[from_:to]]
        for left, right, state in zip_longest(old[start:stop], new[from_:to], served):
            left, right = left or _NO_CELL, right or _NO_CELL
            style = COLOURS.get(left[0] or right[0], "cyan") if kind == "equal" else "bold yellow"
            given = [state[:_SHOWN_DIGITS] if state else ""] if states else []
            cells = (left[0] or right[0], left[1], Text(left[2]), right[1], Text(right[2]), *given)
            table.add_row(*cells, style="bold yellow" if state else style)
    return table


def _cell(token: dict[str, Any]) -> tuple[str, str, str]:
    return token["part"], str(token["token_id"]), repr(token["text"])[1:-1]
