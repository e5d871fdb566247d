"""Time to first token of requests whose prefix is served from a state, beside the same requests without.

    python -m tests.benchmarks.state_ttft [--rounds 15] [--layers 16] [--hidden 768]

One vLLM serves a model with random weights: what a forward pass costs does not hang on them. Every round asks each way
in turn, so that a machine that slows down slows all of them; medians and their ratios are shown. Cold means that no
block of the prompt is in the prefix cache (every request has a salt of its own), warm that the prefix was asked before.
"""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import track

from tests.benchmarks.random_weights import CONTEXT, VOCABULARY, write_model
from tests.benchmarks.tables import Markdown, show
from unhitch.engine.command import build
from unhitch.engine.connector.options import MEMORY_GIB
from unhitch.engine.process import EngineProcess
from unhitch.engine.served import Served
from unhitch.states.file import StateHeader, path, read_header
from unhitch.states.patch import FIELD, STATES_ROUTE
from unhitch_server.network import free_port

PREFIXES = (30, 256, 300, 1000)
"""256 is two whole blocks: once they are cached, nothing of a patched prefix is left to write."""
QUERY = 20
"""Tokens of the question behind the prefix."""


@dataclass(frozen=True)
class Way:
    """One way of asking."""

    prefix: int
    warm: bool
    patched: bool


def main(
    rounds: Annotated[int, typer.Option(min=3)] = 15,
    layers: Annotated[int, typer.Option(min=1)] = 16,
    hidden: Annotated[int, typer.Option(min=128, help="A multiple of 128.")] = 768,
    *,
    markdown: Markdown = False,
) -> None:
    """Measures and prints a table."""
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_measure(Path(folder), rounds, layers, hidden, markdown=markdown))


async def _measure(folder: Path, rounds: int, layers: int, hidden: int, *, markdown: bool) -> None:
    console, port = Console(stderr=True), free_port()
    parameters = write_model(folder / "model", layers, hidden)
    states = folder / "states"
    command = build(
        Served(str(folder / "model"), "model"),
        host="127.0.0.1",
        port=port,
        states=states,
        extra=["--dtype", "float32", "--max-model-len", str(CONTEXT)],
    )
    url = f"http://127.0.0.1:{port}"
    async with EngineProcess(command, url) as engine, httpx.AsyncClient(base_url=url, timeout=600) as client:
        with console.status("vLLM loads a model with random weights"):
            await engine.healthy(timeout_seconds=600)
        before = _resident_bytes()
        prefixes = {length: _tokens(length, length) for length in PREFIXES}
        found = {length: await _captured(client, tokens, states) for length, tokens in prefixes.items()}
        ways = [
            Way(length, warm, patched) for length in PREFIXES for warm in (False, True) for patched in (False, True)
        ]
        seconds: dict[Way, list[float]] = {way: [] for way in ways}
        salts, seeds = (f"cold-{number}" for number in count()), count(10_000)
        for number in track(range(rounds + 2), description="asking", console=console, transient=True):
            for way in random.sample(ways, len(ways)):
                query = _tokens(QUERY, next(seeds))
                state = found[way.prefix] if way.patched else None
                took = await _ask(client, prefixes[way.prefix] + query, state, None if way.warm else next(salts))
                if number >= 2:  # the first two fill the cache and the allocator
                    seconds[way].append(took)
        held = _resident_bytes() - before
    _print(seconds, {length: read_header(path(states, state)) for length, state in found.items()}, markdown=markdown)
    sizes = sum(read_header(path(states, state)).nbytes() for state in found.values())
    print(
        f"\n{parameters / 1e6:.0f} M parameters with random weights ({layers} layers of width {hidden}), float32, vLLM "
        f"on the CPU, block size 128, {QUERY} tokens behind the prefix, one request at a time, medians of {rounds} "
        f"rounds. The states take {sizes / 2**20:.1f} MiB in the engine's memory, of the {MEMORY_GIB:.0f} GiB that it "
        f"may fill with them; its processes grew by {held / 2**20:.0f} MiB while all this was asked."
    )


def _tokens(length: int, seed: int) -> list[int]:
    rng = random.Random(seed)
    return [rng.randrange(10, VOCABULARY) for _ in range(length)]


async def _captured(client: httpx.AsyncClient, tokens: list[int], states: Path) -> str:
    """The id of the state of these tokens, captured in the engine."""
    digest = "0" * 64
    capture = {"span": "prefix", "start": 0, "tokens": len(tokens), "tokenizer": digest, "template": digest}
    await _complete(client, tokens, {"capture": capture}, None)
    for _ in range(200):
        listed = (await client.get(STATES_ROUTE)).json()["data"]
        for entry in listed:
            if len(entry["header"]["tokens"]) == len(tokens):
                return str(entry["id"])
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the engine captured no state of {len(tokens)} tokens in {states}")


async def _ask(client: httpx.AsyncClient, prompt: list[int], state: str | None, salt: str | None) -> float:
    patch = {"state": state, "start": 0, "tokens": len(prompt) - QUERY}
    return await _complete(client, prompt, {"patches": [patch]} if state else None, salt)


async def _complete(
    client: httpx.AsyncClient, prompt: list[int], ours: dict[str, Any] | None, salt: str | None
) -> float:
    body: dict[str, Any] = {"model": "model", "prompt": prompt, "max_tokens": 1, "temperature": 0}
    if ours:
        body["kv_transfer_params"] = {FIELD: ours}
    if salt:
        body["cache_salt"] = salt
    start = time.perf_counter()
    answer = await client.post("/v1/completions", json=body)
    took = time.perf_counter() - start
    answer.raise_for_status()
    return took


def _print(seconds: dict[Way, list[float]], headers: dict[int, StateHeader], *, markdown: bool) -> None:
    columns = ("prefix", "cache", "unpatched", "patched", "ratio", "state")
    rows = []
    for length in PREFIXES:
        for warm in (False, True):
            plain, patched = (median(seconds[Way(length, warm, is_patched)]) * 1000 for is_patched in (False, True))
            size = f"{headers[length].nbytes() / 2**20:.1f} MiB"
            cells = (f"{plain:.1f} ms", f"{patched:.1f} ms", f"{patched / plain:.2f}", size)
            rows.append((f"{length} tokens", "warm" if warm else "cold", *cells))
    show("Time to first token", columns, rows, markdown=markdown)


def _resident_bytes() -> int:
    """Resident memory of all processes that this one started, in bytes (Linux)."""
    return sum(_rss(process) for process in _descendants(_own_pid()))


def _own_pid() -> int:
    return int(Path("/proc/self").resolve().name)


def _descendants(parent: int) -> Iterator[int]:
    for task in Path(f"/proc/{parent}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            yield child
            yield from _descendants(child)


def _rss(process: int) -> int:
    line = next(line for line in Path(f"/proc/{process}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    typer.run(main)
