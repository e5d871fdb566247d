"""227 varied chat requests, direct and through the proxy: `off` changes nothing, a mitigation keeps every field."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx
import pytest

from tests.e2e.conftest import Stack
from tests.e2e.differential.answers import events, joined, settled, shape
from tests.e2e.differential.bodies import Body, bodies

BODIES = dict(bodies())
PATH = "/v1/chat/completions"
OURS = {"unhitch-applied", "unhitch-receipt", "server-timing"}
VARYING = {"date", "content-length", "unhitch-connector", "x-request-id"}


@dataclass(frozen=True)
class Answers:
    """All answers, by the request's name."""

    direct: dict[str, httpx.Response]
    off: dict[str, httpx.Response]
    mitigated: dict[str, httpx.Response]


@pytest.fixture(scope="module")
def answers(stack: Stack) -> Answers:
    with httpx.Client(timeout=120, trust_env=False) as client, ThreadPoolExecutor(4) as pool:

        def ask(url: str, mitigation: str | None = None) -> dict[str, httpx.Response]:
            headers = {} if mitigation is None else {"Unhitch-Mitigation": mitigation}
            post: Callable[[Body], httpx.Response] = lambda body: client.post(url + PATH, json=body, headers=headers)  # noqa: E731
            return dict(zip(BODIES, pool.map(post, BODIES.values()), strict=True))

        return Answers(ask(stack.engine.url), ask(stack.url, "off"), ask(stack.url, "perturb;seed=1"))


def test_there_are_as_many_as_it_says() -> None:
    assert len(BODIES) == 227


@pytest.mark.parametrize("name", BODIES)
def test_off_is_the_engine(answers: Answers, name: str) -> None:
    direct, off = answers.direct[name], answers.off[name]
    assert off.status_code == direct.status_code
    if direct.headers["content-type"].startswith("text/event-stream"):
        assert joined(off.content) == joined(direct.content)
        assert set().union(*map(shape, events(off.content))) == set().union(*map(shape, events(direct.content)))
    else:
        assert settled(off.content) == settled(direct.content)
    kept = [
        {key: value for key, value in answer.headers.items() if key not in OURS | VARYING} for answer in (off, direct)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("name", BODIES)
def test_a_mitigated_answer_has_every_field_and_no_other(answers: Answers, name: str) -> None:
    direct, mitigated = answers.direct[name], answers.mitigated[name]
    assert mitigated.status_code == direct.status_code
    if name.startswith("no such"):
        return  # the proxy has read these before the engine, and says so in its own words
    assert mitigated.headers["content-type"] == direct.headers["content-type"]
    if direct.status_code != httpx.codes.OK:
        assert settled(mitigated.content) == settled(direct.content)
        return
    assert mitigated.headers["unhitch-applied"].startswith("perturb;")
    stream = direct.headers["content-type"].startswith("text/event-stream")
    shapes = [
        set().union(*map(shape, events(answer.content) if stream else [answer.json()]))
        for answer in (mitigated, direct)
    ]
    assert shapes[0] == shapes[1]
