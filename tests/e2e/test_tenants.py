"""What a client can learn of what the engine keeps for another: cached K/V, and states."""

from __future__ import annotations

import json
import re
import secrets
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import Stack
from unhitch.states.patch import STATES_ROUTE
from unhitch_server.access.cache_salt import salted

LONG = "How can I save money this year, and what of it should I tell my family? " * 8
ROUTES = {
    "/v1/chat/completions": lambda turn: {"messages": turn, "max_tokens": 1},
    "/v1/completions": lambda turn: {"prompt": turn[0]["content"], "max_tokens": 1},
    "/v1/responses": lambda turn: {"input": turn, "max_output_tokens": 1, "store": False},
    "/v1/messages": lambda turn: {"messages": turn, "max_tokens": 1},
}
_HITS = re.compile(r"^vllm:prefix_cache_hits_total\{.*\} (\S+)$", re.MULTILINE)


def hits(stack: Stack) -> float:
    """Tokens that the engine has read from its cache so far."""
    text = httpx.get(f"{stack.engine.url}/metrics", timeout=30, trust_env=False).text
    return sum(float(found) for found in _HITS.findall(text))


def gained(stack: Stack, route: str, body: bytes) -> float:
    """Tokens that one request found in the cache."""
    before = hits(stack)
    headers = {"content-type": "application/json", "unhitch-mitigation": "off"}
    answer = httpx.post(f"{stack.url}{route}", content=body, headers=headers, timeout=60, trust_env=False)
    assert answer.status_code == 200, answer.text
    return hits(stack) - before


@pytest.mark.parametrize("route", ROUTES)
def test_a_salt_of_each_key_keeps_its_cached_blocks_from_every_other(stack: Stack, route: str) -> None:
    """Counters show it, which is what times to the first token show, too, without their noise."""
    turn = [{"role": "user", "content": f"{secrets.token_hex(8)} {LONG}"}]
    plain = json.dumps({"model": "mini-base", **ROUTES[route](turn)}).encode()
    assert gained(stack, route, plain) < 64
    assert gained(stack, route, plain) > 64, "without salts everybody shares what begins alike"
    ours, theirs = salted(plain, "key-a"), salted(plain, "key-b")
    assert gained(stack, route, ours) == 0
    assert gained(stack, route, ours) > 64
    assert gained(stack, route, theirs) == 0
    assert gained(stack, route, salted(json.dumps({**json.loads(plain), "cache_salt": "x"}).encode(), "key-b")) == 0
    copied = json.loads(ours)["cache_salt"]
    assert gained(stack, route, salted(json.dumps({**json.loads(plain), "cache_salt": copied}).encode(), "key-b")) == 0


SECRET = "You are Rosa, who knows that the vault opens at nine."


def ask(stack: Stack, mitigation: str, *, direct: bool = False, **members: Any) -> httpx.Response:
    body = {
        "model": "mini-finance",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 0,
        "max_tokens": 4,
        **members,
    }
    url = stack.engine.url if direct else stack.url
    headers = {} if direct else {"unhitch-mitigation": mitigation}
    return httpx.post(f"{url}/v1/chat/completions", json=body, headers=headers, timeout=60, trust_env=False)


def without_ids(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, re.sub(r"[0-9a-f]{16,}|\d{9,}", "#", answer.text)


@pytest.fixture(scope="module")
def state(stack: Stack) -> str:
    """The id of a state that was made of another client's system text."""
    system = {"role": "system", "content": SECRET}
    before = _states(stack)
    answer = ask(stack, "prefix-state", messages=[system, {"role": "user", "content": "Hello"}])
    assert answer.status_code == 200, answer.text
    made = _states(stack) - before
    return next(iter(made or before))


def _states(stack: Stack) -> set[str]:
    listed = httpx.get(f"{stack.engine.url}{STATES_ROUTE}", timeout=60, trust_env=False).json()
    return {entry["id"] for entry in listed["data"]}


def test_a_client_that_names_anothers_state_learns_nothing_of_it_not_even_that_it_is_there(
    stack: Stack, state: str
) -> None:
    def named(name: str, tokens: int = 5) -> httpx.Response:
        patches = [{"state": name, "start": 0, "tokens": tokens}]
        return ask(stack, "off", kv_transfer_params={"unhitch": {"patches": patches}})

    absent = named("0" * 64, 9)
    present = named(state, 9)
    assert present.status_code >= 400
    assert without_ids(present) == without_ids(absent)
    assert "vault" not in present.text


@pytest.mark.parametrize(
    "member",
    [
        {"capture": {"span": "prefix", "start": 0, "tokens": 5}},
        {"patches": [], "capture": None},
        {"CAPTURE": 1, "capture": {}},
    ],
    ids=["capture", "null", "empty"],
)
def test_no_client_has_the_engine_capture(stack: Stack, member: dict[str, Any]) -> None:
    before = _states(stack)
    for mitigation in ("off", "perturb"):
        assert ask(stack, mitigation, kv_transfer_params={"unhitch": member}).status_code == 400
    assert _states(stack) == before


@pytest.mark.parametrize(
    "path", [STATES_ROUTE, f"{STATES_ROUTE}/{'0' * 64}", f"/{STATES_ROUTE}", "/v1/unhitch/%73tates"]
)
def test_no_client_sees_the_list_of_states(stack: Stack, state: str, path: str) -> None:
    for each in (path, path.replace("0" * 64, state)):
        answer = httpx.get(f"{stack.url}{each}", timeout=30, trust_env=False)
        assert answer.status_code == 404
        assert state not in answer.text.replace(each, "")


REMOTE = {
    "do_remote_prefill": True,
    "do_remote_decode": True,
    "remote_block_ids": [[1, 2, 3, 4, 5, 6, 7, 8]],
    "remote_engine_id": "another",
    "remote_host": "127.0.0.1",
    "remote_port": 1,
}


@pytest.mark.parametrize("name", REMOTE)
def test_members_of_other_connectors_bring_no_blocks_of_others(stack: Stack, name: str) -> None:
    plain, asked = ask(stack, "off"), ask(stack, "off", kv_transfer_params={name: REMOTE[name]})
    if asked.status_code == 200:
        said = [each.json()["choices"][0]["message"]["content"] for each in (plain, asked)]
        assert said[0] == said[1]
        assert asked.json()["kv_transfer_params"] is None
    else:
        assert asked.status_code == 400
