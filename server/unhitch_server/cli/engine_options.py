"""`unhitch engine-options`: what a vLLM that is started by other means needs, to serve states."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from unhitch.engine.connector.options import MEMORY_GIB
from unhitch.engine.connector.options import options as connector_options


def engine_options(
    states: Annotated[Path, typer.Option(metavar="DIR", help="Folder of states, as vLLM sees it.")],
    memory_gib: Annotated[
        float, typer.Option(min=0.001, help="Host memory that each of vLLM's workers may fill with states.")
    ] = MEMORY_GIB,
    overlays: Annotated[
        bool, typer.Option(help="Whether states of a postfix are served; they keep CUDA graphs from spanning layers.")
    ] = True,
) -> None:
    """Prints the options for `vllm serve` that load unhitch's connector; unhitch must be installed beside vLLM."""
    typer.echo(shlex.join(connector_options(states, memory_gib=memory_gib, overlays=overlays)))
