"""The proxy's own routes, by its OpenAPI document: with the control key, with another, and without one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import requests
import schemathesis
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from schemathesis import Case, GenerationMode

from tests.fuzz.engine import serving
from tests.fuzz.front import Answer, Headers, ask, fronted, settle
from tests.fuzz.running import Check
from unhitch_server.app import create_app
from unhitch_server.config import Config

KEY = "the operator's key".replace(" ", "-")
KEYS: dict[str, Headers] = {
    "the key": [(b"authorization", f"Bearer {KEY}".encode())],
    "no key": [],
    "another key": [(b"authorization", b"Bearer another-operators-key")],
    "two keys": [(b"authorization", f"Bearer {KEY}".encode()), (b"x-api-key", b"another")],
    "another scheme": [(b"authorization", f"Basic {KEY}".encode())],
}
OPEN = ("/healthz", "/readyz")


@cache
def inputs() -> SearchStrategy[tuple[Case[Any], str]]:
    """Requests by the document and against it, each with the name of the keys that go along."""
    document = create_app(Config(upstream="http://127.0.0.1:9")).openapi()
    found: list[Any] = list(schemathesis.openapi.from_dict(document).get_all_operations())
    operations = [each.ok() for each in found]
    cases = [each.as_strategy(generation_mode=GenerationMode.POSITIVE) for each in operations]
    for each in operations:
        if each.body or any(each.iter_parameters()):  # else nothing of it can be wrong
            cases += [each.as_strategy(generation_mode=mode) for mode in (*GenerationMode, GenerationMode.POSITIVE)]
    return st.tuples(st.one_of(cases), st.sampled_from(["the key", *KEYS]))


@asynccontextmanager
async def opened() -> AsyncIterator[Check]:
    """A proxy with a control key."""
    async with serving() as engine, fronted(engine, control_key=KEY) as front:

        async def check(given: tuple[Case[Any], str]) -> str:
            case, keys = given
            request = requests.Request(**_plain(case.as_transport_kwargs(base_url="http://proxy"))).prepare()
            path, _, query = (request.path_url or "").partition("?")
            headers = [(name.lower().encode(), _raw(value)) for name, value in request.headers.items()]
            body = _raw(request.body or b"")
            asked = [each for each in headers if each[0] not in (b"authorization", b"x-api-key")] + KEYS[keys]
            answer = await ask(front.app, case.method, path.encode(), asked, [body], query.encode())
            settle(answer, path)
            if keys != "the key" and path not in OPEN:
                assert answer.status == 401, answer
                assert set(json.loads(answer.body)) == {"error"}, answer
            if keys != "the key" and path == "/readyz":
                assert set(json.loads(answer.body)) == {"status"}, answer
                return f"{answer.status} {keys}"  # short, so not as the document has it
            case.validate_response(_response(answer, request), checks=_checks())
            return f"{answer.status}"

        yield check


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value for name, value in given.items() if name in ("method", "url", "headers", "params", "json", "data")
    }


def _raw(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8")


def _checks() -> list[Any]:
    from schemathesis import checks

    names = ["not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance"]
    return checks.CHECKS.get_by_names(names)


def _response(answer: Answer, request: requests.PreparedRequest) -> schemathesis.Response:
    headers: dict[str, list[str]] = {}
    for name, value in answer.headers:
        headers.setdefault(name.decode("latin-1"), []).append(value.decode("latin-1"))
    return schemathesis.Response(answer.status, headers, answer.body, request, 0.0, verify=True)
