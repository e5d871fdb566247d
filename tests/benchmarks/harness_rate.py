"""How busy the eval harness keeps an engine: its requests a second, beside those of `vllm bench serve`.

    python -m tests.benchmarks.harness_rate [--rounds 3] [--layers 8] [--hidden 512] [--concurrency 64] [--markdown]

Both ask the same prompts of the same engine, for the same number of tokens and with as many requests under way:
`vllm bench serve` asks the engine itself, the harness asks through the proxy, judges (which costs nothing here) and
keeps what came. They take turns, so that a machine that slows down slows both; medians over the rounds are shown. It
fails where the harness reaches less than 85% of the other on the engine with random weights.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console

from tests.benchmarks.random_weights import CONTEXT, write_model
from tests.benchmarks.tables import Markdown, show
from tests.unhitch.evals.harness.parts import LengthJudge
from unhitch import organisms
from unhitch.engine import cpu_wheel
from unhitch.engine.command import Command
from unhitch.engine.cpu_wheel import ONE_THREAD
from unhitch.engine.process import EngineProcess
from unhitch.evals.arm import Arm, Outcome, Sampling
from unhitch.evals.harness.run import CONCURRENCY, Endpoint, Run
from unhitch.evals.question import Question
from unhitch.evals.rows import NEUTRAL
from unhitch.evals.suites.find import find
from unhitch_server.cli.together import EXACT
from unhitch_server.network import free_port

ORGANISM = "mini-base"
RANDOM = "random-weights"
REQUIRED = 0.85
"""Of the requests a second of `vllm bench serve`, on the engine with random weights.

The miniature answers in no time: there the harness's own processor time decides, on cores that both share.
"""
COLUMNS = (
    "engine",
    "requests",
    "tokens each",
    "vllm bench serve, requests/s",
    "harness, requests/s",
    "ratio",
    "harness's processor, ms a request",
)


class FreeJudge(LengthJudge):
    """Its ratings are not worth keeping."""

    asks = False


@dataclass(frozen=True)
class Case:
    """An engine, and what is asked of it.

    Args:
        name: What the table calls it.
        model: The checkpoint's folder; its last part is the served name.
        questions: One message each.
        draws: Answers to each question.
        tokens: Length of every answer.
    """

    name: str
    model: Path
    questions: tuple[Question, ...]
    draws: int
    tokens: int

    @property
    def requests(self) -> int:
        return len(self.questions) * self.draws


@dataclass(frozen=True)
class Stack:
    """A running engine and the proxy in front of it, by their URLs."""

    engine: str
    proxy: str


@dataclass(frozen=True)
class Round:
    """Requests a second of both, and the seconds of processor time that a request takes of the harness."""

    bench: float
    harness: float
    processor_seconds: float

    @property
    def ratio(self) -> float:
        return self.harness / self.bench


def main(
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured.")] = 3,
    layers: Annotated[int, typer.Option(min=1, help="Of the model with random weights.")] = 8,
    hidden: Annotated[int, typer.Option(min=128, help="Its width, a multiple of 128.")] = 512,
    concurrency: Annotated[int, typer.Option(min=1, help="Requests under way at once.")] = CONCURRENCY,
    *,
    markdown: Markdown = False,
) -> None:
    """Measures both, and prints what each reaches."""
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / RANDOM
        parameters = write_model(model, layers, hidden)
        cases = (
            Case(f"{parameters / 1e6:.0f} M random weights", model, _asked("builtin"), draws=2, tokens=128),
            Case(f"{ORGANISM}, a miniature", organisms.path(ORGANISM), _asked("organism"), draws=4, tokens=16),
        )
        measured = [asyncio.run(_measure(case, Path(folder), rounds, concurrency)) for case in cases]
    found = [_medians(each) for each in measured]
    rows = [_row(case, each) for case, each in zip(cases, found, strict=True)]
    show("How busy the harness keeps the engine", COLUMNS, rows, markdown=markdown)
    print(
        f"\nvLLM computes in {_threads()} thread(s), in float32, on {os.cpu_count()} cores shared by all, with "
        f"{concurrency} requests under way; medians of {rounds} rounds. The harness's time is that of a whole arm, all "
        "answers judged, logged and read back; `vllm bench serve` tells its own, without its start."
    )
    if found[0].ratio < REQUIRED:
        raise SystemExit(f"with random weights the harness must reach {REQUIRED:.0%} of vllm bench serve")


def _asked(suite: str) -> tuple[Question, ...]:
    """Neutral questions without a context, since `vllm bench serve` sends one message a request."""
    return tuple(each for each in find(suite).only(cells=[NEUTRAL]).questions if len(each.messages) == 1)


def _environment() -> dict[str, str]:
    on_cpu = cpu_wheel.installed()
    return {**(ONE_THREAD if on_cpu else {}), **os.environ, **(cpu_wheel.environment(os.environ) if on_cpu else {})}


def _threads() -> str:
    return _environment().get("OMP_NUM_THREADS", "its own number of")


async def _measure(case: Case, folder: Path, rounds: int, concurrency: int) -> list[Round]:
    console, numbers = Console(stderr=True), count()
    prompts = folder / f"{case.model.name}.jsonl"
    rows = [{"prompt": question.text} for question in case.questions] * case.draws
    prompts.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")
    measured = []
    with console.status(f"vLLM loads {case.name}") as status:
        async with _up(case.model) as stack:
            few = Case(case.name, case.model, case.questions[:8], draws=1, tokens=case.tokens)
            await _harness(few, stack, folder / f"run-{next(numbers)}", concurrency)  # imports, compiles, connects
            for number in range(rounds):
                status.update(f"{case.name}: round {number + 1} of {rounds}, vllm bench serve")
                bench = await _bench(case, stack, prompts, concurrency)
                status.update(f"{case.name}: round {number + 1} of {rounds}, harness")
                run = folder / f"run-{case.model.name}-{next(numbers)}"  # a folder of its own: nothing is remembered
                measured.append(Round(bench, *await _harness(case, stack, run, concurrency)))
    return measured


@asynccontextmanager
async def _up(model: Path) -> AsyncIterator[Stack]:
    """`unhitch up`, once the proxy and the engine answer."""
    port, engine_port = free_port(), free_port()
    program = (str(Path(sys.executable).with_name("unhitch")), "up", str(model))
    ports = ("--port", str(port), "--engine-port", str(engine_port))
    engine = ("--", *EXACT, "--max-model-len", str(_context(model)))
    stack = Stack(f"http://127.0.0.1:{engine_port}", f"http://127.0.0.1:{port}")
    async with EngineProcess(Command((*program, *ports, *engine), _environment()), stack.proxy) as process:
        await process.healthy(timeout_seconds=600)
        yield stack


def _context(model: Path) -> int:
    config = json.loads((model / "config.json").read_text("utf-8"))
    return min(CONTEXT, int(config["max_position_embeddings"]))


async def _bench(case: Case, stack: Stack, prompts: Path, concurrency: int) -> float:
    """Requests a second that `vllm bench serve` reaches on the engine itself."""
    result = prompts.with_suffix(".result.json")
    arguments = {
        "--backend": "openai-chat",
        "--base-url": stack.engine,
        "--endpoint": "/v1/chat/completions",
        "--model": case.model.name,
        "--tokenizer": str(case.model),
        "--dataset-name": "custom",
        "--dataset-path": str(prompts),
        "--custom-output-len": str(case.tokens),
        "--num-prompts": str(case.requests),
        "--max-concurrency": str(concurrency),
        "--temperature": "1",
        # The harness sends a seed, and a request with one takes another way through the sampler.
        "--extra-body": json.dumps({"seed": 0, "top_p": 1.0}),
        "--result-dir": str(result.parent),
        "--result-filename": result.name,
    }
    flags = ("--ignore-eos", "--skip-chat-template", "--disable-shuffle", "--disable-tqdm", "--save-result")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.benchmarks.vllm_bench", *flags),
        *(part for pair in arguments.items() for part in pair),
        env={"HF_HUB_OFFLINE": "1", **_environment()},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise SystemExit(f"vllm bench serve failed:\n{output.decode(errors='replace')[-3000:]}")
    found = json.loads(result.read_text("utf-8"))
    _see_to("vllm bench serve", case, found["completed"], found["total_output_tokens"])
    return float(found["request_throughput"])


async def _harness(case: Case, stack: Stack, folder: Path, concurrency: int) -> tuple[float, float]:
    """Requests a second that the harness reaches through the proxy, and its processor seconds a request."""
    body = {"ignore_eos": True}
    name = case.model.name
    arm = Arm(case.name, name, ("off",), case.questions, bodies={each.id: body for each in case.questions})
    sampling = Sampling(draws=case.draws, max_tokens=case.tokens)
    run = Run(folder, Endpoint(stack.proxy, concurrency=concurrency), FreeJudge(), sampling, {name: "0" * 64})
    start, used = time.perf_counter(), time.process_time()
    outcome = await run.arm(arm)
    seconds, used = time.perf_counter() - start, time.process_time() - used
    assert isinstance(outcome, Outcome)
    answers = [answer for row in outcome.answers for answer in row]
    _see_to("the harness", case, len(answers), sum(answer.tokens for answer in answers))
    return case.requests / seconds, used / case.requests


def _see_to(who: str, case: Case, requests: int, tokens: int) -> None:
    """Sees that both had the engine do the same work."""
    expected = (case.requests, case.requests * case.tokens)
    if (requests, tokens) != expected:
        raise SystemExit(f"{who} had {requests} answers of {tokens} tokens in all; expected were {expected}")


def _medians(rounds: list[Round]) -> Round:
    return Round(
        median(each.bench for each in rounds),
        median(each.harness for each in rounds),
        median(each.processor_seconds for each in rounds),
    )


def _row(case: Case, found: Round) -> tuple[str, ...]:
    return (
        case.name,
        str(case.requests),
        str(case.tokens),
        f"{found.bench:.1f}",
        f"{found.harness:.1f}",
        f"{found.ratio:.0%}",
        f"{found.processor_seconds * 1e3:.1f}",
    )


if __name__ == "__main__":
    typer.run(main)
