"""What the proxy costs: latency and processor time, beside the same requests sent directly and, if it is there, nginx.

    python -m tests.benchmarks.proxy_cost [--requests 400] [--rounds 5] [--markdown]

Every round measures every way in turn, so that a machine that slows down slows all of them; medians over the rounds are
shown. The engine is a mock that answers at once: a real one takes far longer, and the difference is what stays.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import aiohttp
import httpx
import typer
from rich.console import Console
from rich.progress import track

from tests.benchmarks.tables import Markdown, show
from tests.server.fake_engine import MODEL
from unhitch_server.network import free_port

COLUMNS = ("answers", "way", "latency", "beyond direct", "requests/s", "processor, a request")
CONCURRENCY = 16
TICKS = os.sysconf("SC_CLK_TCK")
BODY = {"model": MODEL, "messages": [{"role": "user", "content": "How should I treat a deep cut?"}], "max_tokens": 64}
NGINX = """
daemon off; master_process off; worker_processes 1; pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 512; }}
http {{ access_log off; client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 64; }}
  server {{ listen 127.0.0.1:{port}; location / {{ proxy_pass http://engine; proxy_http_version 1.1;
    proxy_set_header Connection ""; proxy_buffering off; }} }} }}
"""


@dataclass(frozen=True)
class Way:
    """One way to the engine."""

    name: str
    port: int
    process: int | None
    mitigation: str | None = None


@dataclass(frozen=True)
class Cost:
    """One measurement: milliseconds of a lone request (median), and microseconds of processor time a request."""

    latency_milliseconds: float
    processor_microseconds: float | None
    requests_per_second: float


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


async def measure(way: Way, requests: int, *, stream: bool) -> Cost:
    url = f"http://127.0.0.1:{way.port}/v1/chat/completions"
    headers = {"Unhitch-Mitigation": way.mitigation} if way.mitigation else {}
    body: dict[str, Any] = {**BODY, "stream": stream}
    async with aiohttp.ClientSession(headers=headers) as session:

        async def once() -> float:
            start = time.perf_counter()
            async with session.post(url, json=body) as answer:
                await answer.read()
                assert answer.status == 200, await answer.text()
            return time.perf_counter() - start

        await asyncio.gather(*(once() for _ in range(CONCURRENCY)))
        latency = median([await once() for _ in range(max(20, requests // 4))])
        used = processor_seconds(way.process) if way.process else 0.0
        start = time.perf_counter()
        for _ in range(requests // CONCURRENCY):
            await asyncio.gather(*(once() for _ in range(CONCURRENCY)))
        seconds = time.perf_counter() - start
        total = requests // CONCURRENCY * CONCURRENCY
        spent = (processor_seconds(way.process) - used) / total * 1e6 if way.process else None
    return Cost(latency * 1e3, spent, total / seconds)


@contextlib.contextmanager
def running(*command: str) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.terminate()
        process.wait(20)


def await_answer(url: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, timeout=10, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} does not answer")


@contextlib.contextmanager
def ways() -> Iterator[list[Way]]:
    engine, proxy, nginx = free_port(), free_port(), free_port()
    unhitch = str(Path(sys.executable).with_name("unhitch"))
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stack.enter_context(running(sys.executable, "-m", "tests.benchmarks.mock_engine", str(engine)))
        await_answer(f"http://127.0.0.1:{engine}/v1/models")
        upstream = f"http://127.0.0.1:{engine}"
        serve = (unhitch, "serve", "--upstream", upstream, "--port", str(proxy), "--log-level", "error")
        process = stack.enter_context(running(*serve))
        await_answer(f"http://127.0.0.1:{proxy}/readyz")
        found = [Way("direct", engine, None)]
        if shutil.which("nginx"):
            config = Path(folder) / "nginx.conf"
            config.write_text(NGINX.format(folder=folder, engine=engine, port=nginx))
            peer = stack.enter_context(running("nginx", "-c", str(config)))
            await_answer(f"http://127.0.0.1:{nginx}/v1/models")
            found.append(Way("nginx", nginx, peer))
        mitigations = {"off": None, "bare": "bare", "perturb": "perturb;seed=1"}
        found += [Way(f"unhitch, {name}", proxy, process, value) for name, value in mitigations.items()]
        yield found


def main(
    requests: Annotated[int, typer.Option(min=CONCURRENCY, help="Requests of each measurement.")] = 400,
    rounds: Annotated[int, typer.Option(min=1, help="How often each way is measured.")] = 5,
    markdown: Markdown = False,
) -> None:
    """Measures plain answers and streams of 64 chunks, and prints a table."""
    rows: list[tuple[str, ...]] = []
    with ways() as found:
        for stream in (False, True):
            costs: dict[Way, list[Cost]] = {way: [] for way in found}
            for _ in track(range(rounds), description="streams" if stream else "plain", console=Console(stderr=True)):
                for way in found:
                    costs[way].append(asyncio.run(measure(way, requests, stream=stream)))
            rows += table(costs, "stream" if stream else "plain")
    show("What the proxy costs", COLUMNS, rows, markdown=markdown)
    peer = "" if shutil.which("nginx") else " nginx is not installed here, so it is left out."
    print(
        f"\nA mock engine that answers at once, plain or in 64 chunks; latency of one request at a time, requests a "
        f"second of {CONCURRENCY} at a time, processor time of the way itself. Medians of {rounds} rounds.{peer}"
    )


def table(costs: dict[Way, list[Cost]], answers: str) -> Iterator[tuple[str, ...]]:
    """One row for each way; the first is the direct one."""
    direct = median(cost.latency_milliseconds for cost in next(iter(costs.values())))
    for way, measured in costs.items():
        latency = median(cost.latency_milliseconds for cost in measured)
        spent = [cost.processor_microseconds for cost in measured if cost.processor_microseconds is not None]
        yield (
            answers,
            way.name,
            f"{latency:.2f} ms",
            f"{latency - direct:.2f} ms",
            f"{median(cost.requests_per_second for cost in measured):.0f}",
            f"{median(spent):.0f} us" if spent else "",
        )


if __name__ == "__main__":
    typer.run(main)
