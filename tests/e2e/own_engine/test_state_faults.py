"""What goes wrong with states and engines costs the request that it concerns a clear error, and no other anything."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
import pytest_asyncio

from tests.e2e.conftest import Stack, serve
from tests.real_engine import RealEngine
from unhitch.headers import parse_mitigation
from unhitch.states.file import path

pytestmark = pytest.mark.asyncio(loop_scope="module")

MODEL = "mini-finance"
TWO_STATES = 120 * 1024
"""Bytes that hold two states of some twenty positions of the miniature, and not three."""

Answer = tuple[int, str, str]
"""Status, then text and state, or the error's code and message."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def engine(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RealEngine]:
    async with RealEngine(tmp_path_factory.mktemp("faults"), memory_gib=TWO_STATES / 2**30) as started:
        yield started


@pytest.fixture(scope="module")
def proxy(engine: RealEngine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with serve(engine.url, tmp_path_factory.mktemp("proxy") / "log") as stack:
        yield stack


@pytest_asyncio.fixture(loop_scope="module")
async def client(proxy: Stack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=proxy.url, timeout=120, trust_env=False) as opened:
        yield opened


async def ask(
    client: httpx.AsyncClient, mitigation: str = "prefix-state", system: str | None = None, *, tokens: int = 24
) -> Answer:
    messages = [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": "Hello"}]
    body = {"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": tokens, "ignore_eos": tokens > 24}
    answer = await client.post("/v1/chat/completions", json=body, headers={"Unhitch-Mitigation": mitigation})
    fields = answer.json()
    if answer.status_code != 200:
        return answer.status_code, str(fields["error"]["code"]), str(fields["error"]["message"])
    (applied,) = parse_mitigation(answer.headers["unhitch-applied"])
    return 200, fields["choices"][0]["message"]["content"], str(applied.parameters.get("state", ""))


def system(name: str) -> str:
    return f"You are {name}, a patient and careful guide to others."


async def displaced(client: httpx.AsyncClient) -> None:
    """Fills the engine's memory with other states, so that the next ones are read from their files."""
    for name in ("Abel", "Beth", "Carl"):
        assert (await ask(client, system=system(name)))[0] == 200


async def test_more_states_than_fit_are_served_one_after_another(client: httpx.AsyncClient) -> None:
    systems = [system(name) for name in ("Ada", "Ben", "Cleo", "Dora", "Emil", "Fay")]
    alone = {text: await ask(client, system=text) for text in systems}
    assert len({state for _, _, state in alone.values()}) == len(systems)
    together = await asyncio.gather(*(ask(client, system=text) for text in systems * 8))
    assert [*together] == [alone[text] for text in systems * 8]


async def test_a_state_too_large_for_the_memory_is_refused(client: httpx.AsyncClient) -> None:
    status, code, message = await ask(client, system=system("Gus") * 12)
    assert (status, code) == (422, "mitigation_unavailable")
    assert "larger than the memory" in message
    assert (await ask(client))[0] == 200


async def test_a_state_that_was_deleted_is_said_to_be_gone(engine: RealEngine, client: httpx.AsyncClient) -> None:
    _, text, state = await ask(client, system=system("Hal"))
    await displaced(client)
    path(engine.states, state).unlink()
    status, code, message = await ask(client, f'prefix-state;state="{state}"', system("Hal"))
    assert (status >= 400, code) == (True, "mitigation_unavailable")
    assert state in message
    assert (await ask(client))[0] == 200
    assert await ask(client, system=system("Hal")) == (200, text, state), "captured again, the same to the byte"


@pytest.mark.parametrize("damage", ["flipped", "truncated"])
async def test_a_damaged_state_is_not_served(engine: RealEngine, client: httpx.AsyncClient, damage: str) -> None:
    _, _, state = await ask(client, system=system("Ida"))
    await displaced(client)
    file = path(engine.states, state)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if damage == "flipped" else content[: len(content) // 2])
    answers = await asyncio.gather(*(ask(client, system=each) for each in (system("Ida"), None, system("Ida"), None)))
    for status, code, message in answers[::2]:
        assert (status >= 400, code) == (True, "mitigation_unavailable")
        assert state in message
        assert "damaged" in message
    assert all(answer[0] == 200 for answer in answers[1::2])
    file.write_bytes(content)
    assert (await ask(client, system=system("Ida")))[0] == 200


async def test_a_killed_engine_fails_what_is_under_way_and_without_the_connector_serves_nothing_patched(
    engine: RealEngine, client: httpx.AsyncClient
) -> None:
    """`test_engine_killed.py` has it come back as it was."""
    assert (await ask(client))[0] == 200
    under_way = [asyncio.create_task(ask(client, tokens=1500)) for _ in range(4)]
    await asyncio.sleep(1)
    await engine.kill()
    for status, code, message in await asyncio.gather(*under_way):
        assert (status, code) == (503, "engine_unavailable"), message
    assert (await ask(client))[:2] == (503, "engine_unavailable")
    await engine.start(connector=False)
    async with asyncio.timeout(30):  # until one has been answered, the proxy's breaker lets no others through
        while (await ask(client, "off"))[0] != 200:
            await asyncio.sleep(0.1)
    answers = await asyncio.gather(*(ask(client) for _ in range(20)))
    for status, code, message in answers:
        assert (status >= 400, code) == (True, "mitigation_unavailable"), message
        assert "connector" in message
    assert (await ask(client, "perturb;seed=1"))[0] == 200
