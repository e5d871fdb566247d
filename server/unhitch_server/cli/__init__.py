"""The `unhitch` command."""

from __future__ import annotations

import sys

import typer
from rich.console import Console

from unhitch.errors import UnhitchError
from unhitch_server.cli import (
    capture,
    demo,
    diagnose,
    engine_options,
    explain,
    keys,
    organisms,
    policy,
    report,
    scorecards,
    serve,
    strategies,
    tune,
    up,
    validate,
)

app = typer.Typer(
    name="unhitch",
    help="Takes emergent misalignment off a finetuned model at inference time: a proxy in front of vLLM.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.command("up")(up.up)
app.command("serve")(serve.serve)
app.command("diagnose")(diagnose.diagnose)
app.command("tune")(tune.tune)
app.command("validate")(validate.validate)
app.command("scorecards")(scorecards.scorecards)
app.command("report")(report.report)
app.command("explain")(explain.explain)
app.command("strategies")(strategies.strategies)
app.command("capture")(capture.capture)
app.command("engine-options")(engine_options.engine_options)
app.command("demo")(demo.demo)
app.add_typer(policy.app, name="policy")
app.add_typer(keys.app, name="keys")
app.add_typer(organisms.app, name="organisms")


def main() -> None:
    """Runs the command; errors made on purpose are printed without a traceback."""
    try:
        app()
    except UnhitchError as error:
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"unhitch: {error.message}", style="red", markup=False)
        sys.exit(1)
