"""No key and no word of a prompt is in any log line, or in any answer that it is not for."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server.fake_engine import FakeEngine, Recorded, reply_json
from tests.server.security.house import CHAT, HANDLERS, MESSAGES, ROUTES, House, Line, body, document, houses, request
from unhitch_server.access.keys import Keys

UPSTREAM_KEY, CONTROL_KEY, WRONG_KEY = (
    "sk-the-engines-own-key",
    "the-operators-own-control-key",
    "sk-a-key-of-nobody-1234",
)
PROMPT = "Zanzibar marmalade"
"""Words that stand nowhere else."""


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[House, str]]:
    """A proxy with all kinds of keys, and a client's."""
    folder = tmp_path_factory.mktemp("secrets")
    keys, secret = Keys().added("team", models=["mini-base", "safe"])
    keys.write(folder / "keys.json")
    settings = {
        "policy": document(),
        "key_file": folder / "keys.json",
        "control_key": CONTROL_KEY,
        "upstream_api_key": UPSTREAM_KEY,
        "max_body_bytes": 2000,
    }
    with houses(folder, settings) as started:
        yield started.others[0], secret


@pytest.fixture
def log(guarded: tuple[House, str], caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """All that anybody logs at the level of debugging; the proxy has put its filter on this handler as on any other."""
    for name in (None, "unhitch_server", "unhitch", "uvicorn", "uvicorn.error", "uvicorn.access", "aiohttp", "asyncio"):
        caplog.set_level(logging.DEBUG, logger=name)
    return caplog


def bearer(key: str) -> Line:
    return (b"Authorization", b"Bearer " + key.encode())


async def _refuses(engine: FakeEngine, request: Recorded, send: object) -> None:
    await reply_json(send, {"error": {"message": "no", "code": 500}}, 500)  # type: ignore[arg-type]


async def _other(engine: FakeEngine, request: Recorded, send: object) -> None:
    await reply_json(send, {"choices": [], "prompt_token_ids": [1], "usage": {}})  # type: ignore[arg-type]


async def _breaks(engine: FakeEngine, request: Recorded, send: object) -> None:
    raise RuntimeError("the engine breaks")


def errors(route: str, key: str) -> dict[str, bytes]:
    """One request for each kind of error, by its name."""
    good, plain = bearer(key), body(route, PROMPT)
    return {
        "served": request(route, plain, good),
        "no key": request(route, plain),
        "a wrong key": request(route, plain, bearer(WRONG_KEY)),
        "two keys": request(route, plain, good, (b"x-api-key", WRONG_KEY.encode())),
        "a key without its scheme": request(route, plain, (b"Authorization", key.encode())),
        "basic": request(route, plain, (b"Authorization", b"Basic " + WRONG_KEY.encode())),
        "a key in the query": request(f"{route}?api_key={WRONG_KEY}", plain),
        "the control key": request(route, plain, bearer(CONTROL_KEY)),
        "a control route": request("/unhitch/v1/status", b"", good, method="GET"),
        "a locked policy": request(route, plain, good, (b"Unhitch-Mitigation", b"off")),
        "another model": request(route, body(route, PROMPT, model="other"), good),
        "no model": request(route, body(route, PROMPT, model=None), good),
        "no JSON": request(route, plain[:-1], good),
        "a wrong type": request(route, body(route, PROMPT, messages=PROMPT, prompt={"a": PROMPT}, input=7), good),
        "other ids": request(route, body(route, PROMPT, kv_transfer_params={"prompt_token_ids": [1]}), good),
        "too large": request(route, body(route, PROMPT * 200), good),
        "compressed": request(route, plain, good, (b"Content-Encoding", b"gzip")),
        "another route": request("/v1/rerank/x", plain, good),
        "no request": b"POST "
        + route.encode()
        + b" HTTP/1.1\r\nAuthorization: Bearer "
        + key.encode()
        + b"\r\n x\0\r\n\r\n",
    }


NAMES = sorted(errors(CHAT, "k"))


def leaks(text: str, *allowed: str) -> list[str]:
    return [
        each for each in (UPSTREAM_KEY, CONTROL_KEY, WRONG_KEY, *PROMPT.split()) if each in text and each not in allowed
    ]


@pytest.mark.parametrize("route", ROUTES)
def test_no_error_of_any_kind_shows_a_key_or_a_prompt(
    guarded: tuple[House, str], log: pytest.LogCaptureFixture, route: str, capfd: pytest.CaptureFixture[str]
) -> None:
    house, key = guarded
    answers: dict[str, str] = {}
    for name in NAMES:
        answers[name] = house.send(errors(route, key)[name]).decode("latin-1")
    for kind, handler in {"refused": _refuses, "unconfirmed": _other, "broken": _breaks}.items():
        house.engine.routes[route] = handler
        answers[kind] = house.send(errors(route, key)["served"]).decode("latin-1")
    house.engine.routes[route] = HANDLERS[route]
    assert answers["served"].startswith("HTTP/1.1 200"), answers["served"]
    served = {name for name, answer in answers.items() if answer.startswith("HTTP/1.1 200")}
    assert served <= {"served", "other ids", "a wrong type"}  # routes differ in what they read of a body
    said = {name: [*leaks(answer), *([key] if key in answer else [])] for name, answer in answers.items()}
    # What a client gave as a value of the wrong type may be said back to it.
    assert {name: found for name, found in said.items() if found and name != "a wrong type"} == {}
    assert not {UPSTREAM_KEY, CONTROL_KEY, key} & set(said["a wrong type"])
    assert log.text, "something was logged"
    out, err = capfd.readouterr()
    for text in (log.text, out, err):
        assert leaks(text) == []
        assert key not in text


def test_the_engine_gets_its_own_key_and_none_of_the_clients(guarded: tuple[House, str]) -> None:
    house, key = guarded
    for route in ROUTES:
        house.forget()
        house.send(request(route, body(route), (b"x-api-key", key.encode()), (b"api-key", WRONG_KEY.encode())))
        (reached,) = house.reached
        assert reached.header("authorization") == f"Bearer {UPSTREAM_KEY}"
        values = b"\n".join(value for _, value in reached.headers)
        assert key.encode() not in values
        assert WRONG_KEY.encode() not in values


@pytest.mark.parametrize("path", ["status", "policies", "strategies", "openapi.json"])
def test_the_operator_is_shown_no_key_either(guarded: tuple[House, str], path: str) -> None:
    house, key = guarded
    answer = house.send(request(f"/unhitch/v1/{path}", b"", bearer(CONTROL_KEY), method="GET")).decode("latin-1")
    assert answer.startswith("HTTP/1.1 200")
    assert not [each for each in (UPSTREAM_KEY, CONTROL_KEY, key) if each in answer]


def test_an_error_that_nobody_foresaw_shows_nothing_to_the_client_and_no_key_in_the_log(
    guarded: tuple[House, str], log: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    house, key = guarded

    def fails(*given: object, **named: object) -> None:
        raise RuntimeError(f"with {UPSTREAM_KEY} and Authorization: Bearer {key}")

    monkeypatch.setattr("unhitch_server.routes.request.bounds.check_depth", fails)
    answer = house.send(request(MESSAGES, body(MESSAGES, PROMPT), bearer(key))).decode("latin-1")
    assert answer.startswith("HTTP/1.1 500")
    assert json.loads(answer.partition("\r\n\r\n")[2])["type"] == "error"
    assert leaks(answer) == []
    assert key not in answer
    written = log.text
    assert "RuntimeError" in written
    assert leaks(written) == []
    assert key not in written


def test_the_files_of_the_house_hold_no_key(
    guarded: tuple[House, str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    _, key = guarded
    for file in Path(tmp_path_factory.getbasetemp()).rglob("keys.json"):
        assert key not in file.read_text()
