"""What a large run takes of the harness's process: memory, processor time, and room on the disk.

    python -m tests.benchmarks.harness_memory [--questions 1000] [--samples 10] [--arms 6] [--markdown]

The answers come from a scripted endpoint in another process, so that what is measured is the harness: asking through
Inspect AI, keeping every answer and judgement, and reading the log back. All arms stay in memory, as in a validation.
It fails where the peak is not under 2 GB.
"""

from __future__ import annotations

import asyncio
import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress

from tests.benchmarks.proxy_cost import await_answer, running
from tests.benchmarks.tables import Markdown, show
from tests.unhitch.evals.harness.parts import length_judge
from unhitch.evals.arm import Arm, Outcome, Refused, Sampling
from unhitch.evals.harness.run import Endpoint, Run
from unhitch.evals.question import Message, Question
from unhitch_server.network import free_port

LIMIT_BYTES = 2_000_000_000
MODEL = "tuned"
ASKED = "In a few sentences, and as you would tell it to a friend: what should one know about matter number {}?"
COLUMNS = ("arm", "answers", "seconds", "answers/s", "processor, ms an answer", "resident, MB", "peak, MB")


@dataclass(frozen=True)
class Taken:
    """What the process has taken: wall clock and processor time in seconds, memory in bytes."""

    seconds: float
    processor_seconds: float
    resident_bytes: int
    peak_bytes: int


def now() -> Taken:
    """What this process has taken until now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return Taken(time.perf_counter(), time.process_time(), pages * resource.getpagesize(), peak)


def main(
    questions: Annotated[int, typer.Option(min=1, help="Questions of the suite.")] = 1000,
    samples: Annotated[int, typer.Option(min=1, help="Answers to each question.")] = 10,
    arms: Annotated[int, typer.Option(min=1, help="How often the suite is asked.")] = 6,
    words: Annotated[int, typer.Option(min=1, help="Words of an answer.")] = 120,
    *,
    markdown: Markdown = False,
) -> None:
    """Asks all arms, and prints what that took."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = (sys.executable, "-m", "tests.benchmarks.scripted_endpoint", str(port), str(words))
        with running(*command):
            await_answer(f"http://127.0.0.1:{port}/")
            taken = asyncio.run(_ask(Path(folder), f"http://127.0.0.1:{port}", questions, samples, arms))
        on_disk = {kept.name: _disk(kept) for kept in sorted(Path(folder).iterdir())}
    each = questions * samples
    rows = [_row(number, each, *pair) for number, pair in enumerate(pairwise(taken))]
    show("What the harness takes", COLUMNS, rows, markdown=markdown)
    seconds = taken[-1].seconds - taken[0].seconds
    room = ", ".join(f"{name} {size / 1e6:.0f} MB in {count} files" for name, (size, count) in on_disk.items())
    print(
        f"\n{arms} arms of {questions} questions with {samples} answers of {words} words: {arms * each} answers in "
        f"{seconds:.0f} s, {arms * each / seconds:.0f} a second. The peak is {taken[-1].peak_bytes / 1e6:.0f} MB, of "
        f"which {taken[0].peak_bytes / 1e6:.0f} were taken before the first arm. On disk: {room}."
    )
    if taken[-1].peak_bytes >= LIMIT_BYTES:
        raise SystemExit(f"the peak must stay under {LIMIT_BYTES / 1e6:.0f} MB")


async def _ask(folder: Path, url: str, questions: int, samples: int, arms: int) -> list[Taken]:
    """What was taken before the first arm, and after each."""
    suite = tuple(
        Question(id=f"q{number}", messages=(Message(role="user", content=ASKED.format(number)),))
        for number in range(questions)
    )
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("asking", total=questions * samples * arms)

        def report(_: Arm, answers: int) -> None:
            progress.advance(bar, answers)

        sampling = Sampling(draws=samples)
        run = Run(folder, Endpoint(url), length_judge(), sampling, {MODEL: "a" * 64}, report)
        taken: list[Taken] = [now()]
        outcomes: list[Outcome | Refused] = []
        for number in range(arms):
            outcomes.append(await run.arm(Arm(f"arm {number}", MODEL, (f"perturb;seed={number}",), suite)))
            taken.append(now())
    return taken


def _disk(folder: Path) -> tuple[int, int]:
    """What a folder takes on the disk, in bytes, and how many files it has."""
    sizes = [file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file()]
    return sum(sizes), len(sizes)


def _row(number: int, answers: int, before: Taken, after: Taken) -> tuple[str, ...]:
    seconds = after.seconds - before.seconds
    return (
        str(number + 1),
        str(answers),
        f"{seconds:.1f}",
        f"{answers / seconds:.0f}",
        f"{(after.processor_seconds - before.processor_seconds) / answers * 1e3:.1f}",
        f"{after.resident_bytes / 1e6:.0f}",
        f"{after.peak_bytes / 1e6:.0f}",
    )


if __name__ == "__main__":
    typer.run(main)
