"""Hundreds of varied requests, direct and through the proxy: `off` changes nothing, a mitigation keeps every field."""

from __future__ import annotations

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import httpx
import pytest

from tests.e2e.conftest import Stack
from tests.e2e.differential.answers import is_stream, joined, settled, shapes, told
from tests.e2e.differential.bodies import chat, completions, messages, responses
from tests.e2e.differential.bodies.route import STREAMED, Body, Route

ROUTES = {route.path: route for route in (chat.ROUTE, completions.ROUTE, responses.ROUTE, messages.ROUTE)}
HOW_MANY = {"/v1/chat/completions": 248, "/v1/completions": 101, "/v1/responses": 112, "/v1/messages": 92}
AT_ONCE = 12  # more cost the engine less
OURS = {"unhitch-applied", "unhitch-receipt", "server-timing"}
VARYING = {"date", "content-length", "unhitch-connector", "x-request-id"}


@dataclass(frozen=True)
class Answers:
    """All answers of a route, by the request's name."""

    direct: dict[str, httpx.Response]
    off: dict[str, httpx.Response]
    mitigated: dict[str, httpx.Response]


Answered = Callable[[str], Answers]


@pytest.fixture(scope="module")
def answered(stack: Stack) -> Answered:
    """The answers of the route with a path, which is asked once."""

    @cache
    def answers(path: str) -> Answers:
        route = ROUTES[path]
        with httpx.Client(timeout=120, trust_env=False) as client, ThreadPoolExecutor(AT_ONCE) as pool:

            def ask(url: str, mitigation: str | None = None) -> dict[str, httpx.Response]:
                headers = {} if mitigation is None else {"Unhitch-Mitigation": mitigation}

                def post(body: Body) -> httpx.Response:
                    return client.post(url + path, json=body, headers=headers)

                return dict(zip(route.bodies, pool.map(post, route.bodies.values()), strict=True))

            return Answers(ask(stack.engine.url), ask(stack.url, "off"), ask(stack.url, "perturb;seed=1"))

    return answers


EACH = pytest.mark.parametrize(("path", "name"), [(path, name) for path in ROUTES for name in ROUTES[path].bodies])


def test_there_are_as_many_as_it_says() -> None:
    assert {path: len(route.bodies) for path, route in ROUTES.items()} == HOW_MANY


@EACH
def test_off_is_the_engine(answered: Answered, path: str, name: str) -> None:
    direct, off = answered(path).direct[name], answered(path).off[name]
    assert off.status_code == direct.status_code
    if is_stream(direct):
        assert joined(off.content) == joined(direct.content)
        assert shapes(off) == shapes(direct)
    else:
        assert settled(off.content) == settled(direct.content)
    kept = [
        {key: value for key, value in answer.headers.items() if key not in OURS | VARYING} for answer in (off, direct)
    ]
    assert kept[0] == kept[1]


@EACH
def test_a_mitigated_answer_has_every_field_and_no_other(answered: Answered, path: str, name: str) -> None:
    route = ROUTES[path]
    direct, mitigated = answered(path).direct[name], answered(path).mitigated[name]
    if (code := route.code(name)) is not None:
        assert mitigated.status_code == httpx.codes.UNPROCESSABLE_ENTITY
        assert error(route, mitigated)["code"] == code
        return
    assert mitigated.status_code == direct.status_code
    if not route.reads(name):
        assert direct.is_client_error
        assert error(route, mitigated)["code"]
        return
    assert mitigated.headers["content-type"] == direct.headers["content-type"]
    if direct.status_code != httpx.codes.OK:
        assert settled(mitigated.content) == settled(direct.content)
        return
    assert mitigated.headers["unhitch-applied"].startswith("perturb;")
    assert shapes(mitigated) == shapes(direct)


CALL = r'\{"city": ?"(Bern|Oslo)"\}'


@pytest.mark.parametrize("form", ["", STREAMED])
@pytest.mark.parametrize(
    ("path", "name", "field", "words"),
    [
        (chat.ROUTE.path, "thinking, nothing", "reasoning", "^ is well$"),
        (chat.ROUTE.path, "thinking, nothing", "content", "^Rest good$"),
        (chat.ROUTE.path, "one call", "arguments", f"^{CALL}$"),
        (chat.ROUTE.path, "two calls", "arguments", f"^{CALL}{CALL}"),
        (responses.ROUTE.path, "thinking", "text", " is well.*Rest good"),
        (responses.ROUTE.path, "one call", "arguments", CALL),
        (messages.ROUTE.path, "thinking on", "thinking", r"\w"),
    ],
)
def test_thoughts_and_calls_are_there(
    answered: Answered, path: str, name: str, field: str, words: str, form: str
) -> None:
    answers = answered(path)
    for arm in (answers.direct, answers.off, answers.mitigated):
        assert re.search(words, told(arm[name + form], field)), arm[name + form].text


def error(route: Route, answer: httpx.Response) -> dict[str, str]:
    """The error of an answer that holds nothing else, as the route's clients read it."""
    assert answer.headers["unhitch-applied"] == "off"
    body: dict[str, dict[str, str]] = answer.json()
    around = {"type": "error"} if route.path == messages.ROUTE.path else {}
    assert body == {**around, "error": body["error"]}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    return body["error"]
