"""The load of the soak, in a process of its own: asks, verifies every answer, and writes what it saw as JSON lines.

    python -m tests.benchmarks.soak.load SPEC.json SECONDS [--clients N | --rate R] [--seed N]

Each line is an object with one member: `tick` (counts, once a second), `unusual` (what the engine's death brings about,
or the policy that rotates), or `wrong` (a fault of the proxy, with the answer).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import typer

from tests.benchmarks.soak.answers import Seen, error_of, judge
from tests.benchmarks.soak.cases import CHAT, MARK, Case, Expected, explanation

LEAVE_EARLY, LEAVE_LATE = 0.06, 0.06
"""Shares of the clients that leave before the first token, and after it."""
EARLY_SECONDS = 0.05
MOST_UNDER_WAY = 2000
_SHOWN = 3000


class Load:
    """Asks one request after the other.

    Args:
        spec: `url`, `key`, `control_key`, `cases`.
        session: Has the proxy's URL as its base.
        seed: Of the draws; no number is drawn twice under different seeds.
    """

    def __init__(self, spec: dict[str, Any], session: aiohttp.ClientSession, seed: int) -> None:
        self._session = session
        self._control = {"Authorization": f"Bearer {spec['control_key']}"}
        self._cases = [Case.from_json(each) for each in spec["cases"]]
        self._weights = [case.weight for case in self._cases]
        self._rng = random.Random(seed)
        self._numbers: Iterator[int] = count(seed * 10_000_000)
        self.counts: Counter[str] = Counter()
        self.under_way = 0

    async def one(self) -> None:
        """Asks one request, and counts what became of it."""
        (case,) = self._rng.choices(self._cases, self._weights)
        number, sent = str(next(self._numbers)), time.time()
        self.under_way += 1
        try:
            seen = await self._ask(case, number, sent)
        except (aiohttp.ClientError, ConnectionError, TimeoutError) as error:
            seen = Seen("down", f"connection: {error!r}")
            self.counts["connection ended"] += 1
        finally:
            self.under_way -= 1
        self.counts[seen.kind] += 1
        rotating = case.way == "rotating policy" and seen.kind == "answered" and seen.applied is not None
        if seen.kind == "down" or rotating:
            told = {"sent": sent, "ended": time.time(), "kind": seen.kind, "case": _name(case)}
            write("unusual", told | {"words": seen.words, "applied": seen.applied})

    async def _ask(self, case: Case, number: str, sent: float) -> Seen:
        expected = case.expected
        if case.explain is not None:
            status, explained = await self._explain(case, number)
            if explained is None:
                return Seen("down", f"explain: {status}")
            expected = (explained,)
        leaving = self._leaving(case)
        early = self._rng.random() * EARLY_SECONDS if leaving == "early" else None
        try:
            async with asyncio.timeout(early):
                return await self._answer(case, number, expected, sent, late=leaving == "late")
        except TimeoutError:
            if early is None:
                raise
            self.counts["left before the first token"] += 1
            return Seen("answered")

    async def _explain(self, case: Case, number: str) -> tuple[int, Expected | None]:
        content = (case.explain or "").replace(MARK, number)
        headers = self._control | _numbered(case.headers, number)
        async with self._session.post("/unhitch/v1/explain", data=content.encode(), headers=headers) as answer:
            body = await answer.read()
        if answer.status == 200:
            return 200, explanation(json.loads(body))
        if answer.status < 500 or error_of(CHAT, json.loads(body)) is None:
            self._wrong(case, "the dry run failed", answer.status, {}, body, time.time())
        return answer.status, None

    async def _answer(
        self, case: Case, number: str, expected: tuple[Expected, ...], sent: float, *, late: bool
    ) -> Seen:
        content, headers = case.content.replace(MARK, number), _numbered(case.headers, number)
        body, whole = b"", False
        async with self._session.post(case.route, data=content.encode(), headers=headers) as answer:
            try:
                if late and answer.status == 200:
                    body = await answer.content.readany()
                    answer.close()
                else:
                    body, whole = await answer.read(), True
            finally:  # what its headers say counts, too, where the connection breaks
                seen = judge(case, expected, answer.status, answer.headers, body, whole=whole)
                if seen.kind == "wrong" and (whole or answer.status == 200):
                    self._wrong(case, seen.words, answer.status, dict(answer.headers), body, sent)
        self.counts[str(answer.status)] += 1
        self.counts["left after the first token"] += late and answer.status == 200
        self.counts["verified"] += whole and seen.kind == "answered"
        self.counts[f"{case.route} {'streamed' if case.stream else 'plain'}"] += 1
        return seen

    def _leaving(self, case: Case) -> str | None:
        draw = self._rng.random()
        if case.status != 200:
            return None
        if draw < LEAVE_EARLY:
            return "early"
        return "late" if case.stream and draw < LEAVE_EARLY + 2 * LEAVE_LATE else None

    def _wrong(self, case: Case, words: str, status: int, headers: dict[str, str], body: bytes, sent: float) -> None:
        told: dict[str, Any] = {"case": _name(case), "words": words, "status": status, "sent": sent}
        told |= {"ended": time.time(), "asked": case.headers, "headers": headers, "content": case.content}
        write("wrong", told | {"body": body[:_SHOWN].decode("utf-8", "replace")})


def _numbered(headers: dict[str, str], number: str) -> dict[str, str]:
    return {name: value.replace(MARK, number) for name, value in headers.items()}


def _name(case: Case) -> str:
    return f"{case.way}, {case.route}, {'streamed' if case.stream else 'plain'}"


def write(kind: str, fields: dict[str, Any]) -> None:
    """One line, at once."""
    sys.stdout.write(json.dumps({kind: fields}) + "\n")
    sys.stdout.flush()


async def tick(load: Load) -> None:
    """Writes counts once a second."""
    while True:
        await asyncio.sleep(1)
        write("tick", {"time": time.time(), "under_way": load.under_way, "counts": dict(load.counts)})


async def closed(load: Load, clients: int, seconds: float) -> None:
    """Each client asks its next request when it has had its answer."""
    end = time.monotonic() + seconds

    async def client() -> None:
        while time.monotonic() < end:
            await load.one()

    await asyncio.gather(*(client() for _ in range(clients)))


async def arriving(load: Load, rate: float, seconds: float) -> None:
    """Requests come at random times, whatever becomes of those before."""
    rng, now = random.Random(1), time.monotonic()
    end, tasks = now + seconds, set[asyncio.Task[None]]()
    while (now := now + rng.expovariate(rate)) < end:
        await asyncio.sleep(max(0.0, now - time.monotonic()))
        if len(tasks) >= MOST_UNDER_WAY:
            raise SystemExit(f"{MOST_UNDER_WAY} requests are under way; the rate of {rate:.1f}/s is not held")
        task = asyncio.create_task(load.one())
        tasks.add(task)
        task.add_done_callback(tasks.discard)
    await asyncio.gather(*tasks)


async def run(spec: dict[str, Any], seconds: float, clients: int | None, rate: float | None, seed: int) -> None:
    """Asks for so long, and until all is answered."""
    headers = {"Authorization": f"Bearer {spec['key']}", "Content-Type": "application/json"}
    # The proxy closes idle connections after five seconds; a request must not meet that.
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=2)
    timeout = aiohttp.ClientTimeout(total=180)
    async with aiohttp.ClientSession(spec["url"], headers=headers, connector=connector, timeout=timeout) as session:
        load = Load(spec, session, seed)
        ticking = asyncio.create_task(tick(load))
        if rate is not None:
            await arriving(load, rate, seconds)
        else:
            await closed(load, clients or 1, seconds)
        ticking.cancel()
        write("tick", {"time": time.time(), "under_way": load.under_way, "counts": dict(load.counts)})


def main(
    spec: Path,
    seconds: float,
    clients: Annotated[int | None, typer.Option(help="Clients that ask one request after the other.")] = None,
    rate: Annotated[float | None, typer.Option(help="Requests a second, whatever becomes of them.")] = None,
    seed: int = 1,
) -> None:
    """Asks."""
    asyncio.run(run(json.loads(spec.read_text()), seconds, clients, rate, seed))


if __name__ == "__main__":
    typer.run(main)
