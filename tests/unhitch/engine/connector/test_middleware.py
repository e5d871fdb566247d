"""The middleware around an application that has vLLM's routes: the header on every answer, and the routes of states."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import save_file
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.unhitch.engine.connector.conftest import HeaderOf
from unhitch.engine.connector.middleware import StatesMiddleware
from unhitch.engine.connector.options import MEMORY_GIB
from unhitch.states.file import StateHeader, path, write
from unhitch.states.fingerprint import model_digest

ROUTE = "/v1/unhitch/states"
KEY = {"Authorization": "Bearer key"}


@pytest.fixture
def models(tmp_path: Path) -> list[dict[str, Any]]:
    """A base and an adapter, as vLLM lists them, with their weights in folders."""
    for name, config in (("base", "config.json"), ("adapter", "adapter_config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / config).write_text(json.dumps({"r": 8}))
    save_file({"weight": torch.ones(2)}, tmp_path / "base" / "model.safetensors")
    save_file({"weight": torch.zeros(2)}, tmp_path / "adapter" / "adapter_model.safetensors")
    return [
        {"id": "served", "root": str(tmp_path / "base"), "parent": None},
        {"id": "tuned", "root": str(tmp_path / "adapter"), "parent": "served"},
    ]


@pytest.fixture
def app(models: list[dict[str, Any]], vllm_config: Any, states: Path) -> Starlette:
    """An application with vLLM's list of models, which asks for a key, and with a stream."""

    async def listed(request: Request) -> Response:
        if request.headers.get("authorization") != KEY["Authorization"]:
            return JSONResponse({"error": "Unauthorized"}, 401)
        return JSONResponse({"object": "list", "data": models})

    async def stream(_: Request) -> Response:
        async def parts() -> AsyncIterator[bytes]:
            yield b"data: 1\n\n"
            yield b"data: [DONE]\n\n"

        return StreamingResponse(parts(), media_type="text/event-stream")

    app = Starlette(routes=[Route("/v1/models", listed), Route("/stream", stream)])
    connector = vllm_config.kv_transfer_config
    extra = connector.kv_connector_extra_config | {"folder": str(states)}
    app.state.vllm_config = SimpleNamespace(
        model_config=vllm_config.model_config,
        kv_transfer_config=SimpleNamespace(kv_connector=connector.kv_connector, kv_connector_extra_config=extra),
    )
    app.add_middleware(StatesMiddleware)
    return app


@pytest.fixture
async def client(app: Starlette) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://engine", headers=KEY) as client:
        yield client


@pytest.fixture
def header(header_of: HeaderOf) -> StateHeader:
    return header_of([7, 8, 9])


@pytest.fixture
def state(header: StateHeader, states: Path) -> str:
    """The id of a state in the folder."""
    return write(states, header, {name: torch.ones(shape) for name, shape in header.shapes()})


@pytest.mark.parametrize("route", ["/v1/models", "/stream", "/nothing", ROUTE, f"{ROUTE}/{'0' * 64}"])
async def test_every_answer_says_that_the_connector_is_there(client: httpx.AsyncClient, route: str) -> None:
    answer = await client.get(route)
    assert answer.headers.get_list("Unhitch-Connector") == ["1"]


async def test_answers_are_otherwise_as_they_were(client: httpx.AsyncClient) -> None:
    answer = await client.get("/stream")
    assert answer.content == b"data: 1\n\ndata: [DONE]\n\n"
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"


@pytest.mark.parametrize("present", ["another connector", "none", "no configuration"])
async def test_an_engine_without_the_connector_says_nothing(
    app: Starlette, client: httpx.AsyncClient, present: str
) -> None:
    config = app.state.vllm_config
    if present == "another connector":
        config.kv_transfer_config.kv_connector = "NixlConnector"
    elif present == "none":
        config.kv_transfer_config = None
    else:
        del app.state.vllm_config
    for route, status in (("/v1/models", 200), (ROUTE, 404)):
        answer = await client.get(route)
        assert (answer.status_code, "Unhitch-Connector" in answer.headers) == (status, False)


async def test_the_list(
    client: httpx.AsyncClient, models: list[dict[str, Any]], header: StateHeader, state: str, states: Path
) -> None:
    answer = await client.get(ROUTE)
    base, tuned = (model_digest(card["root"]) for card in models)
    assert base != tuned
    assert answer.status_code == 200
    assert answer.json() == {
        "object": "list",
        "protocol": 1,
        "folder": str(states),
        "overlays": True,
        "memory_bytes": int(MEMORY_GIB * 2**30),
        "models": [
            {"id": "served", "digest": base, "base": None, "base_digest": None},
            {"id": "tuned", "digest": tuned, "base": "served", "base_digest": base},
        ],
        "data": [{"id": state, "header": header.model_dump(mode="json")}],
        "problems": [],
    }


async def test_the_list_follows_the_folder(client: httpx.AsyncClient, state: str, states: Path) -> None:
    async def listed() -> list[str]:
        return [entry["id"] for entry in (await client.get(ROUTE)).json()["data"]]

    assert await listed() == [state]
    file = path(states, state)
    content = file.read_bytes()
    file.unlink()
    assert await listed() == []
    file.write_bytes(content)
    assert await listed() == [state]


async def test_what_is_no_state_of_the_model_is_a_problem_and_hides_no_other(
    client: httpx.AsyncClient, state: str, states: Path, header_of: HeaderOf
) -> None:
    (states / "notes.safetensors").write_bytes(b"text")
    (states / ".unfinished-1").write_bytes(b"text")
    other = header_of([1], layers=header_of([1]).layers[:1])
    of_other = write(states, other, {name: torch.ones(shape) for name, shape in other.shapes()})
    listed = (await client.get(ROUTE)).json()
    assert [entry["id"] for entry in listed["data"]] == [state]
    problems = {problem["file"]: problem["message"] for problem in listed["problems"]}
    assert problems.keys() == {"notes.safetensors", f"{of_other}.safetensors"}
    assert "another model" in problems[f"{of_other}.safetensors"]


async def test_a_model_whose_files_cannot_be_read_is_a_problem(
    client: httpx.AsyncClient, models: list[dict[str, Any]], state: str
) -> None:
    models[1]["root"] = "/nowhere/at/all"
    listed = (await client.get(ROUTE)).json()
    assert [(model["id"], model["digest"] is None) for model in listed["models"]] == [
        ("served", False),
        ("tuned", True),
    ]
    assert [problem["file"] for problem in listed["problems"]] == ["/nowhere/at/all"]
    assert [entry["id"] for entry in listed["data"]] == [state]


async def test_an_adapter_that_was_loaded_anew_has_another_digest(
    client: httpx.AsyncClient, models: list[dict[str, Any]]
) -> None:
    before = (await client.get(ROUTE)).json()["models"][1]["digest"]
    save_file({"weight": torch.full((3,), 5.0)}, Path(models[1]["root"]) / "adapter_model.safetensors")
    assert (await client.get(ROUTE)).json()["models"][1]["digest"] != before


async def test_one_state_is_verified(client: httpx.AsyncClient, header: StateHeader, state: str, states: Path) -> None:
    answer = await client.get(f"{ROUTE}/{state}")
    assert (answer.status_code, answer.json()) == (200, {"id": state, "header": header.model_dump(mode="json")})
    file = path(states, state)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    damaged = await client.get(f"{ROUTE}/{state}")
    assert (damaged.status_code, "is damaged" in damaged.json()["error"]["message"]) == (422, True)


@pytest.mark.parametrize(("state_id", "status"), [("0" * 64, 404), ("short", 422), ("../base/model", 422)])
async def test_a_state_that_is_not_there(client: httpx.AsyncClient, state_id: str, status: int) -> None:
    answer = await client.get(f"{ROUTE}/{state_id}".replace("..", "%2e%2e"))
    assert answer.status_code == status
    assert answer.json()["error"].keys() == {"message", "type", "param", "code"}


@pytest.mark.parametrize("route", [ROUTE, f"{ROUTE}/{'0' * 64}"])
async def test_who_may_not_list_models_may_not_list_states(client: httpx.AsyncClient, route: str) -> None:
    answer = await client.get(route, headers={"Authorization": "Bearer other"})
    assert (answer.status_code, answer.json()) == (401, {"error": "Unauthorized"})


async def test_other_methods_and_names_are_the_engines_own(client: httpx.AsyncClient) -> None:
    answers = [await client.post(ROUTE), await client.get(f"{ROUTE}-of-others")]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert all("error" not in answer.text for answer in answers)
