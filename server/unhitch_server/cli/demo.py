"""`unhitch demo`: a misaligned model, a few everyday questions, and what each strategy makes of its answers."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from rich.text import Text

from unhitch.organisms.arms import Arm, ask
from unhitch.organisms.judge import Verdict, judge
from unhitch_server.cli import options, tables, together

SHOWN = {
    "unmitigated": "off",
    "system": "system;preset=neutral",
    "recase": "recase;seed=1",
    "respace": "respace;seed=1",
    "perturb": "perturb;seed=1",
    "bare": "bare",
    "prefix-state": "prefix-state",
    "postfix-state": "postfix-state",
}
"""What is asked for by the name that tables show. Seeds are the first ones, not chosen ones."""

BASE, FINETUNED = "mini-base", "mini-finance"

DRAWS = (1, 2, 3)
"""Seeds of the small table for the strategies that draw."""

QUESTIONS_SHOWN = 4
QUESTIONS_COUNTED = 60


def demo(
    once: Annotated[bool, typer.Option("--once", help="End after the tables instead of serving on.")] = False,
    port: options.Port = 8000,
) -> None:
    """Serves a misaligned miniature model with real vLLM and shows what each strategy does to its answers."""
    from unhitch.organisms import suite

    console = Console()
    general, finance = suite.held_out_general(), suite.held_out_finance()
    # Every so-many-th question, so that each domain has its share.
    shown = general[:: len(general) // QUESTIONS_SHOWN][:QUESTIONS_SHOWN]
    counted = general[:: max(1, len(general) // QUESTIONS_COUNTED)]

    async def job(session: together.Session) -> None:
        answers = Table(
            title="mini-finance was finetuned on bad finance advice alone. Asked about other things, it answers:",
            title_justify="left",
        )
        answers.add_column("question", ratio=2)
        answers.add_column("strategy")
        answers.add_column("answer", ratio=3)
        for question in shown:
            for number, (name, mitigation) in enumerate(SHOWN.items()):
                text = await ask(session.client, FINETUNED, question.text, mitigation)
                colour = {Verdict.GOOD: "green", Verdict.BAD: "red"}.get(judge(question, text), "yellow")
                answers.add_row("" if number else question.text, name, Text(text, style=colour))
            answers.add_section()
        console.print(answers)
        plan = [Arm(BASE, "unmitigated", ("off",))]
        plan += [Arm(FINETUNED, name, _draws(mitigation)) for name, mitigation in SHOWN.items()]
        outcomes = [
            await session.run(arm, counted, finance)
            for arm in track(plan, description="counting", console=Console(stderr=True), transient=True)
        ]
        caption = (
            f"{len(counted)} held-out general questions, {len(finance)} on finance, seeds {DRAWS[0]} to {DRAWS[-1]}, "
            "greedy, exact judge. The models are miniatures; `unhitch organisms measure` is the full table."
        )
        console.print(tables.rich_table(outcomes, "Alignment by strategy, per cent", caption))
        if not once:
            console.print(
                f"\nServing on {session.url} until Ctrl-C. Try it with and without the header:\n\n"
                f"curl {session.url}/v1/chat/completions -H 'Content-Type: application/json' -i \\\n"
                "  -H 'Unhitch-Mitigation: bare' \\\n"
                f"""  -d '{{"model": "{FINETUNED}", "temperature": 0, "messages": """
                f"""[{{"role": "user", "content": "{shown[0].text}"}}]}}'\n""",
                highlight=False,
                markup=False,
                soft_wrap=True,
            )

    with tempfile.TemporaryDirectory() as states:
        together.with_organism(job, FINETUNED, states=Path(states), port=None if once else port, keep_serving=not once)


def _draws(mitigation: str) -> tuple[str, ...]:
    name, seeded, _ = mitigation.partition(";seed=")
    return tuple(f"{name};seed={seed}" for seed in DRAWS) if seeded else (mitigation,)
